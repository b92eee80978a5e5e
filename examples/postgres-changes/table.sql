CREATE TABLE goods (
    id     bigint PRIMARY KEY,
    name   text NOT NULL,
    price  numeric(10, 2),
    since  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO goods (id, name, price) SELECT n, 'thing ' || n, n FROM generate_series(1, 500) AS n;
