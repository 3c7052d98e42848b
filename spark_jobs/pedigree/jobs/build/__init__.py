"""From sources to a published slice: transform, conform, check, publish, in one recorded run."""
