"""What a study is to train: sizes, budgets, derived configs, and what each run will cost."""
