// Minimax polynomials, lowest coefficient first. Written by tools/coefficients/fit.py; change it there.
#pragma once

namespace quern::cpu::coefficients {

// clang-format off
inline constexpr float exp2_floor_f32[] = {  // degree 6, error 1.9e-9
    0x1.0000000000000p+0f, 0x1.62e42a0000000p-1f, 0x1.ebfd9e0000000p-3f, 0x1.c685000000000p-5f, 0x1.3d27fe0000000p-7f, 0x1.4619620000000p-10f, 0x1.c720fc0000000p-13f};
inline constexpr float exp2_floor_fast_f32[] = {  // degree 5, error 7.5e-8
    0x1.fffffe0000000p-1f, 0x1.62e4f60000000p-1f, 0x1.ebd5a80000000p-3f, 0x1.c954500000000p-5f, 0x1.268fe00000000p-7f, 0x1.ec329a0000000p-10f};
inline constexpr float exp2_round_f32[] = {  // degree 6, error 1.9e-9
    0x1.0000000000000p+0f, 0x1.62e4300000000p-1f, 0x1.ebfbda0000000p-3f, 0x1.c6aed20000000p-5f, 0x1.3b2dc20000000p-7f, 0x1.5f47320000000p-10f, 0x1.41d1e40000000p-13f};
inline constexpr float expm1_f32[] = {  // degree 5, error 2.5e-10
    0x1.0000000000000p-1f, 0x1.5555560000000p-3f, 0x1.5554b00000000p-5f, 0x1.1110900000000p-7f, 0x1.6d72a20000000p-10f, 0x1.a1a0ee0000000p-13f};
inline constexpr double expm1_f64[] = {  // degree 10, error 2.8e-19
    0x1.0000000000000p-1, 0x1.5555555555559p-3, 0x1.555555555555ap-5, 0x1.111111110f72dp-7, 0x1.6c16c16c144cbp-10, 0x1.a01a01afbc879p-13, 0x1.a01a01b09f37cp-16, 0x1.71ddf8a75753dp-19, 0x1.27e4c5c1b2192p-22, 0x1.af5e47c4bc817p-26, 0x1.1f95439928472p-29};
inline constexpr float log_f32[] = {  // degree 2, error 8.1e-10
    0x1.55557a0000000p-1f, 0x1.995eac0000000p-2f, 0x1.31e5080000000p-2f};
inline constexpr double log_f64[] = {  // degree 6, error 1.2e-18
    0x1.5555555555592p-1, 0x1.999999997fe64p-2, 0x1.24924941f1c52p-2, 0x1.c71c5202cdf44p-3, 0x1.7466413e43b30p-3, 0x1.39a16903a0adbp-3, 0x1.2f0956b84fa55p-3};
inline constexpr float sin_f32[] = {  // degree 2, error 3.6e-9
    -0x1.5555460000000p-3f, 0x1.1107580000000p-7f, -0x1.994b720000000p-13f};
inline constexpr double sin_f64[] = {  // degree 5, error 3.5e-18
    -0x1.5555555555549p-3, 0x1.111111110f84bp-7, -0x1.a01a019c0b15dp-13, 0x1.71de3571ad3a5p-19, -0x1.ae5e613d53b14p-26, 0x1.5d917d5503560p-33};
inline constexpr float cos_f32[] = {  // degree 2, error 9.8e-11
    0x1.55554a0000000p-5f, -0x1.6c0c940000000p-10f, 0x1.9a03a20000000p-16f};
inline constexpr double cos_f64[] = {  // degree 5, error 5.4e-20
    0x1.555555555554ep-5, -0x1.6c16c16c154e0p-10, 0x1.a01a019cfa353p-16, -0x1.27e4f837deabcp-22, 0x1.1eea07c28673bp-29, -0x1.8fbba26e78cf0p-37};
inline constexpr float asin_f32[] = {  // degree 4, error 5.0e-9
    0x1.5555ca0000000p-3f, 0x1.3301500000000p-4f, 0x1.748cc20000000p-5f, 0x1.8b9a4a0000000p-6f, 0x1.59e4c60000000p-5f};
inline constexpr double asin_f64[] = {  // degree 11, error 1.5e-17
    0x1.555555555538fp-3, 0x1.333333336ef78p-4, 0x1.6db6db42131b2p-5, 0x1.f1c72c5f5c97cp-6, 0x1.6e89f05952a0dp-6, 0x1.1c6c1f8feaf16p-6, 0x1.c6f8d11924d4cp-7, 0x1.8ee428e659e0dp-7, 0x1.aaabee6fabcb0p-8, 0x1.40be377615c84p-6, -0x1.0b11d52268cf6p-6, 0x1.05db370746b2ep-5};
inline constexpr float atan_f32[] = {  // degree 4, error 6.6e-10
    -0x1.55554a0000000p-2f, 0x1.9991ac0000000p-3f, -0x1.23b6920000000p-3f, 0x1.b1feb20000000p-4f, -0x1.f23fca0000000p-5f};
inline constexpr double atan_f64[] = {  // degree 10, error 1.3e-18
    -0x1.555555555553ep-2, 0x1.9999999995984p-3, -0x1.24924922b3662p-3, 0x1.c71c70e81fc62p-4, -0x1.745cf910c1392p-4, 0x1.3b111c53b87c0p-4, -0x1.10ebd8a453a0dp-4, 0x1.df10eba258f01p-5, -0x1.9cd932b281ad0p-5, 0x1.37e4095e58d1cp-5, -0x1.2585ccaffd808p-6};
inline constexpr float erf_f32[] = {  // degree 6, error 1.2e-9
    0x1.20dd740000000p+0f, -0x1.81273e0000000p-2f, 0x1.ce2cf80000000p-4f, -0x1.b7f90c0000000p-6f, 0x1.5405ac0000000p-8f, -0x1.a3f6da0000000p-11f, 0x1.4969cc0000000p-14f};
inline constexpr double erf_f64[] = {  // degree 11, error 7.3e-18
    0x1.20dd750429b6dp+0, -0x1.812746b0379bdp-2, 0x1.ce2f21a040d17p-4, -0x1.b82ce311fa95ep-6, 0x1.565bccf92b623p-8, -0x1.c02db03ddd5b8p-11, 0x1.f9a2baa9805b8p-14, -0x1.f4ca4d7633956p-17, 0x1.b97fd41850cb1p-20, -0x1.5c07285422b95p-23, 0x1.d71b1816e0967p-27, -0x1.abae6250d1e90p-31};
inline constexpr float erfcx_f32[] = {  // degree 9, error 1.5e-9
    0x1.0586720000000p-2f, -0x1.b570360000000p-2f, 0x1.eeea780000000p-3f, -0x1.437eec0000000p-4f, 0x1.e9676e0000000p-9f, 0x1.ca75dc0000000p-8f, -0x1.bfb4f20000000p-11f, -0x1.fcc24e0000000p-11f, 0x1.0d98be0000000p-14f, 0x1.2f93c20000000p-13f};
inline constexpr double erfcx_f64[] = {  // degree 21, error 3.5e-17
    0x1.058671b52c776p-2, -0x1.b57034efd3f6ep-2, 0x1.eeea7dc8a7864p-3, -0x1.437f0b68c1596p-4, 0x1.e947159813dcep-9, 0x1.ca95ed54c3c35p-8, -0x1.bc25a4bf79af4p-11, -0x1.016b5d537f6c4p-10, 0x1.6d5f4b6513a85p-15, 0x1.6da99493f5c9fp-13, 0x1.cdc4c1454d0c3p-16, -0x1.cebc0ccb2995dp-16, -0x1.d433e6b404dbep-17, 0x1.75da63aa5ce33p-20, 0x1.f3518f4e3dd30p-19, 0x1.44e1d31815fdcp-20, -0x1.7634031a2d69bp-22, -0x1.2f3061e50c056p-21, -0x1.c77e5cf559571p-23, 0x1.6e609e32fdec0p-23, 0x1.b5408b7a2693ap-24, -0x1.c16e956179534p-25};
inline constexpr double two_over_pi[] = {
    10680707.0, 7228996.0, 1387004.0, 2578385.0, 16069853.0, 12639074.0, 9804092.0, 4427841.0, 16666979.0, 11263675.0, 12935607.0, 2387514.0, 4345298.0, 14681673.0, 3074569.0, 13734428.0, 16653803.0, 1880361.0, 10960616.0, 8533493.0, 3062596.0, 8710556.0, 7349940.0, 6258241.0, 3772886.0, 3769171.0, 3798172.0, 8675211.0, 12450088.0, 3874808.0, 9961438.0, 366607.0, 15675153.0, 9132554.0, 7151469.0, 3571407.0, 2607881.0, 12013382.0, 4155038.0, 6285869.0, 7677882.0, 13102053.0, 15825725.0, 473591.0, 9065106.0, 15363067.0, 6271263.0, 9264392.0, 5636912.0, 4652155.0, 7056368.0, 13614112.0};
// clang-format on

}  // namespace quern::cpu::coefficients
