"""What a value of a log means: ids, times, missing values, and the longest values that an index takes."""
