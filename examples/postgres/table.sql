CREATE TABLE orders (
    sequence bigint,
    customer text,
    product  text,
    quantity smallint,
    price    numeric(10, 2),
    currency char(3),
    status   text,
    city     text,
    gift     boolean
);
