-- The other face of the program that masks answers: it masks messages, and mask_pii puts back what it has taken out. An
-- extension of that name that somebody has registered already stays theirs.

UPDATE extensions SET notes_of = 'mask_pii_in'
WHERE id = 'mask_pii' AND type = 'post' AND subject IS NULL
  AND NOT EXISTS (SELECT 1 FROM extension_versions WHERE extension_id = 'mask_pii')
  AND NOT EXISTS (SELECT 1 FROM extension_instances WHERE extension_id = 'mask_pii')
  AND NOT EXISTS (SELECT 1 FROM extensions AS other WHERE lower(other.id) = 'mask_pii_in');

INSERT INTO extensions (id, type, timeout_ms, retry, enabled, version, config, metadata)
SELECT 'mask_pii_in', 'pre', 1000, 1, enabled, version, '{}',
       '{"description": "Masks personal data in the message; mask_pii can put it back"}'
FROM extensions
WHERE id = 'mask_pii' AND notes_of = 'mask_pii_in';

UPDATE registry_revision SET revision = revision + 1;
