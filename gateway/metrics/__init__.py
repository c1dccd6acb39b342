"""What an operator watches: numbers of this process, told at `GET /metrics` in Prometheus' text form."""
