-- Of which program an extension is another face, and whose notes it gets. Ids without a foreign key: an extension may be
-- deleted before those that name it.

ALTER TABLE extensions ADD COLUMN subject_of text;
ALTER TABLE extensions ADD COLUMN notes_of text;
