"""The files of the sample, as they came."""

from pedigree.features.sources import Source

FLIGHTS = Source(
    name="flights",
    file="flights.csv",
    schema="year INT, month INT, day INT, dep_time INT, sched_dep_time INT, dep_delay DOUBLE, arr_time INT,"
    " sched_arr_time INT, arr_delay DOUBLE, carrier STRING, flight INT, tailnum STRING, origin STRING, dest STRING,"
    " air_time DOUBLE, distance DOUBLE, hour INT, minute INT, time_hour TIMESTAMP",
    description="Every flight that left New York City in 2013; times are local to the airport",
)
WEATHER = Source(
    name="weather",
    file="weather.csv",
    schema="origin STRING, year INT, month INT, day INT, hour INT, temp DOUBLE, dewp DOUBLE, humid DOUBLE,"
    " wind_dir DOUBLE, wind_speed DOUBLE, wind_gust DOUBLE, precip DOUBLE, pressure DOUBLE, visib DOUBLE,"
    " time_hour TIMESTAMP",
    description="Hourly weather at the three airports of New York City; times are local",
)
PLANES = Source(
    name="planes",
    file="planes.csv",
    schema="tailnum STRING, year INT, type STRING, manufacturer STRING, model STRING, engines INT, seats INT,"
    " speed DOUBLE, engine STRING",
    description="Planes of the FAA's registry",
)
AIRPORTS = Source(
    name="airports",
    file="airports.csv",
    schema="faa STRING, name STRING, lat DOUBLE, lon DOUBLE, alt DOUBLE, tz DOUBLE, dst STRING, tzone STRING",
    description="Airports with their time zones",
)
SOURCES = (FLIGHTS, WEATHER, PLANES, AIRPORTS)
