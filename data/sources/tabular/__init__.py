"""Files with columns, CSV and Parquet, read as blocks of Arrow columns so that no row is lost or invented silently."""
