"""From an image's reports to a verdict: rules, policy, baseline."""
