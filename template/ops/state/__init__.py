"""What is applied: the files that containers mount, the secrets, the journal of a change."""
