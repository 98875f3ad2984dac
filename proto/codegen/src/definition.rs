//! Message definitions: the JSON files that Kafka generates its own classes from.
//!
//! Only what shapes bytes is kept; descriptions are not.

use serde::Deserialize;
use serde_json::Value;

use crate::versions::Versions;

/// One message: a request, a response, a record's key or value, or data embedded in another
/// message.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The API key of requests and responses, the record type of coordinator keys and values.
    pub(crate) api_key: Option<i16>,
    pub(crate) versions: Versions,
    pub(crate) flexible: Versions,
    pub(crate) latest_version_unstable: bool,
    /// A broker serves this request.
    pub(crate) on_broker: bool,
    /// The message's own fields.
    pub(crate) fields: Vec<Field>,
    /// Every struct inside the message, outer ones before those inside them.
    pub(crate) structs: Vec<Struct>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    RecordKey,
    RecordValue,
    Data,
    Header,
}

#[derive(Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) versions: Versions,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Field {
    /// As the definition spells it, such as `TopicId`.
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) versions: Versions,
    pub(crate) nullable: Versions,
    pub(crate) tag: Option<u32>,
    pub(crate) ignorable: bool,
    pub(crate) default: Default,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    I8,
    I16,
    U16,
    I32,
    I64,
    F64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

/// The value of a field in versions that lack it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Default {
    /// Zero, false, empty, or the struct's own default.
    Natural,
    Null,
    Integer(i64),
    True,
}

impl Type {
    fn parse(text: &str) -> Self {
        match text {
            "bool" => Self::Bool,
            "int8" => Self::I8,
            "int16" => Self::I16,
            "uint16" => Self::U16,
            "int32" => Self::I32,
            "int64" => Self::I64,
            "float64" => Self::F64,
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            _ => match text.strip_prefix("[]") {
                Some(element) => Self::Array(Box::new(Self::parse(element))),
                None => Self::Struct(text.to_owned()),
            },
        }
    }

    fn struct_name(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.struct_name(),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDefinition {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    api_key: Option<i16>,
    valid_versions: String,
    /// Absent from messages that no version has any more.
    #[serde(default = "none")]
    flexible_versions: String,
    #[serde(default)]
    latest_version_unstable: bool,
    #[serde(default)]
    listeners: Vec<String>,
    /// Absent as above.
    #[serde(default)]
    fields: Vec<RawField>,
    #[serde(default)]
    common_structs: Vec<RawStruct>,
}

#[derive(Deserialize)]
struct RawStruct {
    name: String,
    versions: String,
    fields: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawField {
    name: String,
    #[serde(rename = "type")]
    ty: String,
    versions: Option<String>,
    nullable_versions: Option<String>,
    tagged_versions: Option<String>,
    tag: Option<u32>,
    /// `true`, or, in one definition, `"true"`.
    ignorable: Option<Value>,
    default: Option<Value>,
    fields: Option<Vec<RawField>>,
}

fn none() -> String {
    "none".to_owned()
}

impl Definition {
    /// Parses a definition file: JSON with whole-line comments.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let json: Vec<&str> =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let raw: RawDefinition =
            serde_json::from_str(&json.join("\n")).map_err(|error| error.to_string())?;
        let kind = match raw.kind.as_str() {
            "request" => Kind::Request,
            "response" => Kind::Response,
            "coordinator-key" => Kind::RecordKey,
            "coordinator-value" => Kind::RecordValue,
            "data" => Kind::Data,
            "header" => Kind::Header,
            other => return Err(format!("unknown type of message {other:?}")),
        };
        let versions = Versions::parse(&raw.valid_versions)?;
        let mut structs = Vec::new();
        let fields = parse_fields(raw.fields, versions, &mut structs)?;
        for common in raw.common_structs {
            let versions = Versions::parse(&common.versions)?.intersect(versions);
            let fields = parse_fields(common.fields, versions, &mut structs)?;
            structs.push(Struct { name: common.name, versions, fields });
        }
        Ok(Self {
            name: raw.name,
            kind,
            api_key: raw.api_key,
            versions,
            flexible: Versions::parse(&raw.flexible_versions)?,
            latest_version_unstable: raw.latest_version_unstable,
            on_broker: raw.listeners.iter().any(|listener| listener == "broker"),
            fields,
            structs,
        })
    }

    pub(crate) fn find_struct(&self, name: &str) -> &Struct {
        let found = self.structs.iter().find(|candidate| candidate.name == name);
        found.unwrap_or_else(|| panic!("{}: no struct {name}", self.name))
    }

    /// First flexible version that exists.
    pub(crate) fn flexible_from(&self) -> Option<i16> {
        (!self.flexible.is_empty()).then_some(self.flexible.first)
    }
}

/// Parses fields, adds the structs that they define to `structs`, and drops fields that no version
/// in `scope` has.
fn parse_fields(
    raw: Vec<RawField>,
    scope: Versions,
    structs: &mut Vec<Struct>,
) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    for raw in raw {
        let name = raw.name.clone();
        let field =
            parse_field(raw, scope, structs).map_err(|error| format!("field {name}: {error}"))?;
        if !field.versions.is_empty() {
            fields.push(field);
        }
    }
    Ok(fields)
}

fn parse_field(raw: RawField, scope: Versions, structs: &mut Vec<Struct>) -> Result<Field, String> {
    let optional = |text: &Option<String>| text.as_deref().map(Versions::parse).transpose();
    let tagged = optional(&raw.tagged_versions)?.map(|versions| versions.intersect(scope));
    let versions = match optional(&raw.versions)? {
        Some(versions) => versions.intersect(scope),
        None => tagged.ok_or("neither versions nor tagged versions")?,
    };
    if tagged.is_some_and(|tagged| tagged != versions) || tagged.is_some() != raw.tag.is_some() {
        return Err("a field that is tagged in some of its versions only is not supported".into());
    }
    if raw.tag.is_some_and(|tag| tag > 126) {
        return Err("the writer counts tagged fields in one byte".into());
    }
    let ty = Type::parse(&raw.ty);
    if tagged.is_some() && ty == Type::Records {
        return Err("the writer cannot put record sets into tagged fields".into());
    }
    if let (Some(inner), Some(name)) = (raw.fields, ty.struct_name()) {
        // Outer structs stand before the ones inside them.
        let place = structs.len();
        let fields = parse_fields(inner, versions, structs)?;
        structs.insert(place, Struct { name: name.to_owned(), versions, fields });
    }
    let nullable = optional(&raw.nullable_versions)?.unwrap_or(Versions::NONE);
    Ok(Field {
        name: raw.name,
        // Kafka's classes start record sets at null, whatever the definition says; ours only if
        // null can be sent.
        default: match (&ty, nullable.is_empty()) {
            (Type::Records, false) => Default::Null,
            _ => parse_default(&ty, raw.default.as_ref())?,
        },
        ty,
        versions,
        nullable: nullable.intersect(versions),
        tag: raw.tag,
        ignorable: match raw.ignorable {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(Value::String(text)) if text == "true" => true,
            Some(other) => return Err(format!("ignorable is {other}")),
        },
    })
}

fn parse_default(ty: &Type, default: Option<&Value>) -> Result<Default, String> {
    let text = match default {
        None => return Ok(Default::Natural),
        Some(Value::Null) => return Ok(Default::Null),
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(other) => other.to_string(),
    };
    match (ty, text.as_str()) {
        (_, "null") => Ok(Default::Null),
        (_, "") | (Type::Bool, "false") => Ok(Default::Natural),
        (Type::Bool, "true") => Ok(Default::True),
        (Type::I8 | Type::I16 | Type::U16 | Type::I32 | Type::I64, number) => {
            let parsed = match number.strip_prefix("0x") {
                Some(digits) => i64::from_str_radix(digits, 16),
                None => number.parse(),
            };
            match parsed.map_err(|error| format!("default {number:?}: {error}"))? {
                0 => Ok(Default::Natural),
                value => Ok(Default::Integer(value)),
            }
        }
        (ty, text) => Err(format!("default {text:?} for {ty:?} is not supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_with_field(field: &str) -> Result<Definition, String> {
        Definition::parse(&format!(
            r#"// A comment.
            {{ "name": "FooRequest", "type": "request", "apiKey": 1, "listeners": ["broker"],
               "validVersions": "2-5", "flexibleVersions": "4+", "fields": [ {field} ] }}"#
        ))
    }

    #[test]
    fn fields_are_cut_to_the_versions_of_their_message() {
        let field = r#"{ "name": "A", "type": "[]B", "versions": "0+", "fields": [
            { "name": "Gone", "type": "int8", "versions": "0-1" },
            { "name": "Kept", "type": "int8", "versions": "3+", "default": "0x7f" } ] }"#;
        let definition = parse_with_field(field).expect("parses");
        let inner = definition.find_struct("B");
        assert_eq!(inner.versions, Versions { first: 2, last: 5 });
        assert_eq!(inner.fields.len(), 1);
        assert_eq!(inner.fields[0].versions, Versions { first: 3, last: 5 });
        assert_eq!(inner.fields[0].default, Default::Integer(127));
    }

    #[test]
    fn what_the_runtime_cannot_do_is_refused() {
        for field in [
            r#"{ "name": "A", "type": "int8", "versions": "3+", "tag": 0,
                "taggedVersions": "4+" }"#,
            r#"{ "name": "A", "type": "int8", "versions": "4+", "taggedVersions": "4+" }"#,
            r#"{ "name": "A", "type": "int8", "versions": "4+", "tag": 127,
                "taggedVersions": "4+" }"#,
            r#"{ "name": "A", "type": "records", "versions": "4+", "tag": 1,
                "taggedVersions": "4+" }"#,
            r#"{ "name": "A", "type": "string", "versions": "4+", "default": "x" }"#,
            r#"{ "name": "A", "type": "int8", "versions": "4+", "default": "x" }"#,
        ] {
            assert!(parse_with_field(field).is_err(), "{field}");
        }
    }
}
