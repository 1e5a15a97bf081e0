"""What can be seen of a checkpoint: functions that return values and print nothing."""
