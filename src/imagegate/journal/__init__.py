"""The only writer of generations, their attempts and images. It decides under the wallets' locks, in batches."""
