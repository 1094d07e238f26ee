/* Checks written in C, called from the test program: each returns NULL, or what went wrong. */
#ifndef FROM_C_H
#define FROM_C_H
#ifdef __cplusplus
extern "C" {
#endif
const char* c_runs_a_kernel(void);
const char* c_sees_errors(void);
const char* c_prepares_and_launches(void);
const char* c_gets_allocated_outputs(void);
const char* c_refuses_misuse(void);
const char* c_sets_options(void);
#ifdef __cplusplus
}
#endif
#endif
