-- The table that the search API keeps its people in, as SQLAlchemy makes it.
-- `tags` is JSON text, a list of strings, and NULL until tag_experts.py has been there.

CREATE TABLE experts (
    id INTEGER NOT NULL,
    username VARCHAR,
    first_name VARCHAR,
    last_name VARCHAR,
    job_title VARCHAR,
    company VARCHAR,
    bio TEXT,
    hourly_rate FLOAT,
    currency VARCHAR,
    profile_url VARCHAR,
    profile_url_utm VARCHAR,
    tags TEXT,
    findability_score FLOAT,
    category VARCHAR,
    PRIMARY KEY (id)
);

CREATE INDEX ix_experts_username ON experts (username);
