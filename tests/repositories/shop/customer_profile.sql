SELECT
  id AS customer_id,
  initcap(city) AS city,
  CAST(discount AS DOUBLE) AS discount,
  since AS event_at
FROM customers
