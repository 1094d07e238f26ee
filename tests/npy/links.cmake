set(links quern_npy)
