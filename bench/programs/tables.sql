-- SPDX-License-Identifier: MIT
-- Tables in memory: filled, indexed, joined, grouped, changed.
PRAGMA journal_mode = MEMORY;
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE purchase (id INTEGER PRIMARY KEY, customer INTEGER, item TEXT, price REAL);

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
INSERT INTO customer SELECT i, 'customer ' || (i * 7919 % 20011), 'city ' || (i % 97) FROM n;

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
INSERT INTO purchase
  SELECT i, 1 + (i * 104729 % 40000), 'item ' || hex(i * 2654435761 % 4093), (i % 1000) / 10.0 FROM n;

CREATE INDEX customer_name ON customer (name);
CREATE INDEX purchase_customer ON purchase (customer);
CREATE INDEX purchase_item ON purchase (item);

SELECT city, count(*), round(sum(price), 2) FROM customer JOIN purchase ON customer.id = purchase.customer
  GROUP BY city ORDER BY 3 DESC LIMIT 5;
SELECT length(group_concat(text, ',')) FROM
  (SELECT upper(name) || '/' || replace(city, 'city', 'town') AS text FROM customer ORDER BY name DESC);
SELECT count(DISTINCT item) FROM purchase WHERE price > 50;
UPDATE purchase SET item = item || '-x' WHERE id % 5 = 0;
DELETE FROM purchase WHERE id % 7 = 0;
SELECT item, count(*) FROM purchase GROUP BY item ORDER BY 2 DESC, 1 LIMIT 3;
