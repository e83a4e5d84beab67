"""The operations of the API: sessions, tokens, the validation of captured data, and the store behind them."""
