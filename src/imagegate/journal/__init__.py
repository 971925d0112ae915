"""The only writer of generations, attempts and images. On the line it decides under the wallets' locks, in batches."""
