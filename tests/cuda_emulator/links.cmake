set(links quern_cuda_emulator)
