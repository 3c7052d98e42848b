"""One file per feature table: what it reads, and its transform. `TABLES` is what `pedigree build` knows."""

from spark_jobs.tables.carrier_delays import CARRIER_DELAYS
from spark_jobs.tables.origin_weather import ORIGIN_WEATHER
from spark_jobs.tables.plane_usage import PLANE_USAGE
from spark_jobs.tables.route_delays import ROUTE_DELAYS

TABLES = {table.name: table for table in (CARRIER_DELAYS, ROUTE_DELAYS, PLANE_USAGE, ORIGIN_WEATHER)}
