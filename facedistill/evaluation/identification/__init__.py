"""Judging a model by templates and galleries: IJB 1:1 and 1:N, rank-k, TPIR at FPIR."""
