"""Tests of `notifications`, `notify-test` and the secret target of direct deliveries."""
