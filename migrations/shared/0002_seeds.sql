-- The reference extensions, two providers to be switched on by whoever has an account there, and a demo policy.
-- The same text for Postgres and SQLite. Subjects stay NULL: they follow from the deployment's prefix.

INSERT INTO extensions (id, type, timeout_ms, retry, enabled, version, config, metadata) VALUES
    ('normalize_text', 'pre', 1000, 1, TRUE, 'v1', '{}',
     '{"description": "Brings text to one form of spelling and white space"}'),
    ('pii_guard', 'validator', 1000, 1, TRUE, 'v1', '{}',
     '{"description": "Rejects messages that carry personal data"}'),
    ('mask_pii', 'post', 1000, 1, TRUE, 'v1', '{}',
     '{"description": "Masks personal data in the answer"}'),
    ('mock_provider', 'provider', 5000, 1, TRUE, 'v1', '{}',
     '{"description": "Answers without a model, for tests and demonstrations", "expected_latency_ms": 50}'),
    ('openai_gpt4', 'provider', 30000, 1, FALSE, 'v1', '{}',
     '{"description": "OpenAI; needs a provider service of its own"}'),
    ('anthropic_claude', 'provider', 30000, 1, FALSE, 'v1', '{}',
     '{"description": "Anthropic; needs a provider service of its own"}');

INSERT INTO policies (tenant_id, policy_id, document) VALUES
    ('demo', 'default', '{
  "version": "1.0",
  "policy_id": "default",
  "pre": [{"id": "normalize_text", "mode": "required"}],
  "validators": [{"id": "pii_guard", "on_fail": "block"}],
  "providers": [{"name": "mock_provider", "weight": 100}],
  "post": [{"id": "mask_pii", "mode": "required"}]
}');

UPDATE registry_revision SET revision = revision + 1;
