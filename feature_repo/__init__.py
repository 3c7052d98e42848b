"""The sample: every flight that left New York City in 2013. A feature repository like anyone's."""
