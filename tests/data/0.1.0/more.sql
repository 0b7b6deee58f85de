INSERT INTO experts (id, username, first_name, bio, tags) VALUES
    (41, 'u41', 'Ida', 'Kept by an earlier pass, one.', '["x"]'),
    (42, 'u42', 'Jan', 'Kept by an earlier pass, two.', '["x"]'),
    (43, 'u43', 'Kim', 'Kept by an earlier pass, three.', '["x"]');
