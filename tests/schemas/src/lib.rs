//! The JSON Schemas of everything that crosses a process boundary, made from the types of the
//! contract.
//!
//! What somebody sends is described as it may be written, what the router sends as it is written.

use beamline_contract::admin::{self, RefusalAnswer};
use beamline_contract::answer::{DecisionAnswer, ErrorAnswer};
use beamline_contract::call::{CallAnswer, ExtensionCall, ProviderCall};
use beamline_contract::for_each_operation;
use beamline_contract::policy::PolicyDocument;
use beamline_contract::request::RequestBody;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// A file of docs/schemas.
#[derive(Debug)]
pub struct File {
    /// Below docs/schemas, without `.json`.
    pub name: String,
    /// What it is the schema of, for the index.
    pub what: String,
    pub schema: Schema,
}

/// All files, in the order of the index.
pub fn files() -> Vec<File> {
    let mut files = vec![
        sent::<RequestBody<'_>>("request", "the body of `decide` and `route`"),
        without_response(received::<DecisionAnswer<'_>>(
            "decide-answer",
            "the answer of `decide`",
        )),
        with_response(received::<DecisionAnswer<'_>>(
            "route-answer",
            "the answer of `route`",
        )),
        received::<ErrorAnswer<'_>>("error-answer", "the answer of both when a request failed"),
        received::<ExtensionCall<'_>>(
            "call",
            "a call of a pre-processor, validator or post-processor",
        ),
        received::<ProviderCall<'_>>("provider-call", "a call of a provider"),
        // The fields that only the extension writes are there as well.
        received::<CallAnswer<'_>>("extension-answer", "what an extension answers"),
        sent::<admin::CreateExtension>(
            "extension-record",
            "the record of an extension, as people write it",
        ),
        sent::<PolicyDocument<'_>>("policy", "a policy, in all its forms"),
        received::<RefusalAnswer>(
            "admin/refusal",
            "an operation of the administration that was refused",
        ),
    ];
    macro_rules! add {
        ($($operation:ident $name:literal $role:ident $reach:ident $effect:ident $answer:ident,)*) => {
            $(files.push(with_common(sent::<admin::$operation>(
                concat!("admin/", $name, ".request"),
                concat!("the body of `", $name, "`"),
            ), admin::Effect::$effect));
            files.push(received::<admin::$answer>(
                concat!("admin/", $name, ".answer"),
                concat!("the answer to `", $name, "`"),
            ));)*
        };
    }
    for_each_operation!(add);
    files
}

/// The index of docs/schemas.
pub fn index() -> String {
    let mut index = INDEX.to_owned();
    for File { name, what, .. } in files() {
        index.push_str(&format!("| [{name}.json]({name}.json) | {what} |\n"));
    }
    index
}

impl File {
    /// As it is committed.
    pub fn text(&self) -> String {
        let json = serde_json::to_string_pretty(&self.schema).unwrap_or_default();
        format!("{json}\n")
    }
}

fn sent<T: JsonSchema>(name: &str, what: &str) -> File {
    file::<T>(name, what, SchemaSettings::draft2020_12().for_deserialize())
}

fn received<T: JsonSchema>(name: &str, what: &str) -> File {
    file::<T>(name, what, SchemaSettings::draft2020_12().for_serialize())
}

fn file<T: JsonSchema>(name: &str, what: &str, settings: SchemaSettings) -> File {
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    plain_descriptions(&mut schema);
    let title = name.trim_start_matches("admin/").replace(['-', '.'], " ");
    schema.insert(
        "title".to_owned(),
        format!("Beamline Router {title}").into(),
    );
    let urn = format!("urn:beamline-router:{}", name.replace('/', ":"));
    schema.insert("$id".to_owned(), urn.into());
    File {
        name: name.to_owned(),
        what: what.to_owned(),
        schema,
    }
}

/// `decide` calls no provider.
fn without_response(mut file: File) -> File {
    if let Some(properties) = object(&mut file, "/properties") {
        properties.insert("response".to_owned(), json!(false));
    }
    if let Some(definitions) = object(&mut file, "/$defs") {
        definitions.remove("ProviderResponse");
    }
    file
}

/// `route` always answers what its provider answered.
fn with_response(mut file: File) -> File {
    if let Some(response) = object(&mut file, "/properties/response") {
        response.remove("anyOf");
        response.insert("$ref".to_owned(), json!("#/$defs/ProviderResponse"));
    }
    let required = file
        .schema
        .get_mut("required")
        .and_then(Value::as_array_mut);
    if let Some(required) = required {
        required.push(json!("response"));
    }
    file
}

/// Every operation takes the key in its body too, and every write the revision up to which its
/// sender knows the object (contract section 5). They are no part of what the operation reads, so
/// no type has them.
fn with_common(mut file: File, effect: admin::Effect) -> File {
    let body = file.schema.get("$ref").and_then(Value::as_str);
    let body = body.unwrap_or_default().to_owned();
    if let Some(body) = object(&mut file, &body) {
        let properties = body.entry("properties").or_insert_with(|| json!({}));
        properties[admin::API_KEY] = json!({
            "description": "A key of the administration, for who cannot send it as `Authorization: Bearer`.",
            "type": ["string", "null"],
        });
        if effect == admin::Effect::Writes {
            properties[admin::IF_REVISION] = json!({
                "description": "Refused with `conflict` when the object changed after this revision; 0: it must not exist.",
                "type": ["integer", "null"],
                "minimum": 0,
            });
        }
    }
    file
}

fn object<'f>(file: &'f mut File, pointer: &str) -> Option<&'f mut Map<String, Value>> {
    let value = file.schema.pointer_mut(pointer)?;
    value.as_object_mut()
}

/// Doc comments as an editor shows them: on one line, without links into the code.
fn plain_descriptions(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let words: Vec<&str> = text.split_whitespace().collect();
        *text = without_links(&words.join(" "));
    }
    transform_subschemas(&mut plain_descriptions, schema);
}

/// Of a link, only what it says.
fn without_links(text: &str) -> String {
    let mut parts = text.split("`](");
    let first = parts.next().unwrap_or_default().to_owned();
    let plain = parts.fold(first, |plain, part| {
        let after = part.split_once(')').map_or("", |(_, after)| after);
        format!("{plain}`{after}")
    });
    plain.replace("[`", "`").replace("`]", "`")
}

const INDEX: &str = "\
# JSON Schemas

Draft 2020-12, made from the types of [contract/](../../contract/src/lib.rs). `BEAMLINE_WRITE_SCHEMAS=1 cargo nextest run \
--workspace -E 'package(beamline-schemas)'` writes them anew, this page too; `make test` fails when they are out of date.

What somebody sends is described as it may be written, so that a typo in a policy or a record is seen before it is sent. What the
router sends is described as it is written today; a newer router may say more. The body of every operation of the administration may
hold a key as `api_key`, that of every write `if_revision`.

## In an editor

The router prints the schema of policies: `beamline-router policy schema > policy.schema.json`. Then an editor completes keys,
shows what they mean, and marks mistakes:

- in the document itself, first of all keys: `\"$schema\": \"./policy.schema.json\"`;
- VS Code, for a folder, in `.vscode/settings.json`:
  `{\"json.schemas\": [{\"fileMatch\": [\"policies/*.json\"], \"url\": \"./policy.schema.json\"}]}`;
- editors with yaml-language-server, which reads JSON as well: `# yaml-language-server: $schema=./policy.schema.json`
  in the first line of a YAML file that becomes the document, or `yaml.schemas` in the settings.

`beamline-router policy check` finds what a schema cannot say, for example a circle of `depends_on`.

| file | of |
|---|---|
";
