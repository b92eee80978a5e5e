INSERT INTO goods (id, name, price) SELECT n, 'thing ' || n, n FROM generate_series(501, 1000) AS n;
UPDATE goods SET price = price * 2 WHERE id % 10 = 0;
DELETE FROM goods WHERE id % 7 = 0;
UPDATE goods SET id = 2000 WHERE id = 1;
