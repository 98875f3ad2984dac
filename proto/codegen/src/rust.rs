//! Writes Rust for one message definition: a struct per struct, how it is read, how it is written.
//!
//! The generated code is flat calls of the runtime (`reader.rs`, `writer.rs` of
//! `weir-kafka-protocol`), one line per field, with a version condition where the field is not in
//! every version. rustfmt lays it out afterwards, so nothing here cares for indentation.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::definition::{Default, Definition, Field, Kind, Struct, Type};
use crate::names::field_name;
use crate::versions::Versions;

/// Writes the structs of one definition. Names in `ambiguous` are those that the other definition
/// of the same file has too; they get the kind of message put in front.
pub(crate) struct Emitter<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) ambiguous: &'a BTreeSet<String>,
}

impl Emitter<'_> {
    /// The message itself, then the structs inside it, outermost first.
    pub(crate) fn emit(&self) -> String {
        let definition = self.definition;
        let mut out = String::new();
        let message = Struct {
            name: definition.name.clone(),
            versions: definition.versions,
            fields: Vec::new(),
        };
        let flexible = match definition.flexible_from() {
            Some(first) => format!("flexible from {first}"),
            None => "never flexible".to_owned(),
        };
        let docs = format!("`{}`, {}, {flexible}.", definition.name, definition.versions);
        self.emit_struct(&mut out, &message, &definition.fields, &docs);
        self.emit_message(&mut out);
        for inner in &definition.structs {
            if !inner.versions.is_empty() {
                let docs = format!("Part of [`{}`].", definition.name);
                self.emit_struct(&mut out, inner, &inner.fields, &docs);
            }
        }
        out
    }

    fn emit_message(&self, out: &mut String) {
        let definition = self.definition;
        let name = &definition.name;
        let Versions { first, last } = definition.versions;
        let flexible = definition.flexible_from();
        write_all(
            out,
            format_args!(
                "impl Message for {name} {{
                    const NAME: &'static str = \"{name}\";
                    const VERSIONS: (i16, i16) = ({first}, {last});
                    const FLEXIBLE_FROM: Option<i16> = {flexible:?};
                }}\n\n"
            ),
        );
        match definition.kind {
            Kind::Request => {
                let api = name.strip_suffix("Request").expect("requests are named so");
                write_all(
                    out,
                    format_args!(
                        "impl Request for {name} {{
                            const API_KEY: ApiKey = ApiKey::{api};
                            type Response = {api}Response;
                        }}\n\n"
                    ),
                );
            }
            Kind::Response => {
                let api = name.strip_suffix("Response").expect("responses are named so");
                let has_throttle_time =
                    definition.fields.iter().any(|field| field.name == "ThrottleTimeMs");
                let throttle_time = if has_throttle_time {
                    "fn throttle_time_ms(&mut self) -> Option<&mut i32> {
                        Some(&mut self.throttle_time_ms)
                    }"
                } else {
                    ""
                };
                let has_error_code = definition.fields.iter().any(|field| {
                    field.name == "ErrorCode" && field.versions.covers(definition.versions)
                });
                let error_code = if has_error_code {
                    "fn error_code(&mut self) -> Option<&mut i16> {
                        Some(&mut self.error_code)
                    }"
                } else {
                    ""
                };
                write_all(
                    out,
                    format_args!(
                        "impl Response for {name} {{
                            const API_KEY: ApiKey = ApiKey::{api};

                            {throttle_time}

                            {error_code}
                        }}\n\n"
                    ),
                );
            }
            Kind::RecordKey => {
                let record_type = definition.api_key.expect("coordinator keys have a type");
                write_all(
                    out,
                    format_args!(
                        "impl RecordKey for {name} {{
                            const RECORD_TYPE: i16 = {record_type};
                        }}\n\n"
                    ),
                );
            }
            Kind::RecordValue | Kind::Data | Kind::Header => {}
        }
    }

    fn emit_struct(&self, out: &mut String, of: &Struct, fields: &[Field], docs: &str) {
        let name = self.struct_name(&of.name);
        let natural = fields.iter().all(default_is_rusts);
        let derive = if natural { ", Default" } else { "" };
        write_all(
            out,
            format_args!(
                "/// {docs}\n#[derive(Debug, Clone, PartialEq{derive})]\npub struct {name} {{\n"
            ),
        );
        for field in fields {
            if let Some(docs) = field_docs(field, of.versions) {
                write_all(out, format_args!("/// {docs}\n"));
            }
            let ty = self.field_type(field);
            write_all(out, format_args!("pub {}: {ty},\n", field_name(&field.name)));
        }
        out.push_str("}\n\n");
        if !natural {
            write_all(
                out,
                format_args!(
                    "impl Default for {name} {{
                        fn default() -> Self {{ Self {{ {} }} }}
                    }}\n\n",
                    fields
                        .iter()
                        .map(|field| format!(
                            "{}: {},\n",
                            field_name(&field.name),
                            self.default_value(field)
                        ))
                        .collect::<String>()
                ),
            );
        }
        let wire_bytes_min = self.wire_bytes_min(of, fields);
        let read = self.read_body(of, fields);
        let write = self.write_body(of, fields);
        let version = |body: &str| {
            if uses_version(body) { "version" } else { "_version" }
        };
        let (read_version, write_version) = (version(&read), version(&write));
        write_all(
            out,
            format_args!(
                "impl Wire for {name} {{
                    const WIRE_BYTES_MIN: usize = {wire_bytes_min};

                    fn read(reader: &mut Reader, {read_version}: i16)
                        -> Result<Self, DecodeError> {{ {read} }}

                    fn write(&self, writer: &mut Writer, {write_version}: i16)
                        -> Result<(), EncodeError> {{ {write} }}
                }}\n\n"
            ),
        );
    }

    fn read_body(&self, of: &Struct, fields: &[Field]) -> String {
        let mut literal = String::from("Self {\n");
        let mut tags = String::new();
        for field in fields {
            let name = field_name(&field.name);
            let default = self.default_value(field);
            let read = self.read_value(field);
            match (field.tag, field.versions.condition(of.versions)) {
                (Some(tag), condition) => {
                    let guard = condition.map(|text| format!(" if {text}")).unwrap_or_default();
                    write_all(&mut literal, format_args!("{name}: {default},\n"));
                    write_all(&mut tags, format_args!("{tag}{guard} => value.{name} = {read},\n"));
                }
                (None, Some(condition)) => write_all(
                    &mut literal,
                    format_args!("{name}: if {condition} {{ {read} }} else {{ {default} }},\n"),
                ),
                (None, None) => write_all(&mut literal, format_args!("{name}: {read},\n")),
            }
        }
        literal.push('}');
        if !self.ever_flexible(of.versions) {
            return format!("Ok({literal})");
        }
        if tags.is_empty() {
            return format!("let value = {literal};\nreader.skip_tags()?;\nOk(value)");
        }
        format!(
            "let mut value = {literal};
            reader.tags(|reader, tag| {{
                match tag {{ {tags} _ => return Ok(false), }}
                Ok(true)
            }})?;
            Ok(value)"
        )
    }

    fn write_body(&self, of: &Struct, fields: &[Field]) -> String {
        let mut out = String::new();
        for field in fields.iter().filter(|field| field.tag.is_none()) {
            let write = self.write_value(field);
            let Some(condition) = field.versions.condition(of.versions) else {
                out.push_str(&write);
                continue;
            };
            write_all(&mut out, format_args!("if {condition} {{ {write} }}"));
            if !field.ignorable {
                let (differs, refuse) = (self.differs_from_default(field), self.refusal(field));
                write_all(&mut out, format_args!("else if {differs} {{ {refuse} }}"));
            }
            out.push('\n');
        }
        let mut tagged: Vec<&Field> = fields.iter().filter(|field| field.tag.is_some()).collect();
        tagged.sort_by_key(|field| field.tag);
        if tagged.is_empty() {
            if self.ever_flexible(of.versions) {
                out.push_str("writer.tags();\n");
            }
        } else {
            out.push_str("let tags = writer.tags();\n");
        }
        for field in tagged {
            let differs = self.differs_from_default(field);
            let tag = field.tag.expect("only tagged fields are left");
            let write = self.write_value(field);
            let add = format!("writer.tag(tags, {tag}, |writer| {{ {write} Ok(()) }})?;");
            match field.versions.condition(of.versions) {
                None => write_all(&mut out, format_args!("if {differs} {{ {add} }}\n")),
                Some(condition) if field.ignorable => {
                    write_all(&mut out, format_args!("if {condition} && {differs} {{ {add} }}\n"));
                }
                Some(condition) => write_all(
                    &mut out,
                    format_args!(
                        "if {differs} {{ if {condition} {{ {add} }} else {{ {} }} }}\n",
                        self.refusal(field)
                    ),
                ),
            }
        }
        out.push_str("Ok(())");
        out
    }

    /// The expression that reads a field, in versions that have it.
    fn read_value(&self, field: &Field) -> String {
        let plain = match &field.ty {
            Type::Bool => "reader.bool()?".to_owned(),
            Type::I8 => "reader.i8()?".to_owned(),
            Type::I16 => "reader.i16()?".to_owned(),
            Type::U16 => "reader.u16()?".to_owned(),
            Type::I32 => "reader.i32()?".to_owned(),
            Type::I64 => "reader.i64()?".to_owned(),
            Type::F64 => "reader.f64()?".to_owned(),
            Type::Uuid => "reader.uuid()?".to_owned(),
            Type::String => "reader.string()?".to_owned(),
            Type::Bytes => "reader.bytes()?".to_owned(),
            // In requests a record set is a byte field; its slice of the frame is all there is to
            // it.
            Type::Records if self.definition.kind == Kind::Request => "reader.bytes()?".to_owned(),
            Type::Records => "reader.records()?".to_owned(),
            Type::Struct(name) => format!("{}::read(reader, version)?", self.struct_name(name)),
            Type::Array(_) => "reader.array(version)?".to_owned(),
        };
        let nullable = match &field.ty {
            Type::Records if self.definition.kind == Kind::Request => "reader.nullable_bytes()?",
            Type::Records => "reader.nullable_records()?",
            Type::String => "reader.nullable_string()?",
            Type::Bytes => "reader.nullable_bytes()?",
            Type::Struct(_) => "reader.nullable_struct(version)?",
            Type::Array(_) => "reader.nullable_array(version)?",
            _ => return plain,
        };
        if field.nullable.is_empty() {
            return plain;
        }
        match field.nullable.condition(field.versions) {
            None => nullable.to_owned(),
            Some(condition) => format!("if {condition} {{ {nullable} }} else {{ Some({plain}) }}"),
        }
    }

    /// The statement that writes a field, in versions that have it.
    fn write_value(&self, field: &Field) -> String {
        let name = field_name(&field.name);
        let plain = |value: &str| match &field.ty {
            Type::Bool => format!("writer.bool({value});"),
            Type::I8 => format!("writer.i8({value});"),
            Type::I16 => format!("writer.i16({value});"),
            Type::U16 => format!("writer.u16({value});"),
            Type::I32 => format!("writer.i32({value});"),
            Type::I64 => format!("writer.i64({value});"),
            Type::F64 => format!("writer.f64({value});"),
            Type::Uuid => format!("writer.uuid({value});"),
            Type::String => format!("writer.string({value})?;"),
            Type::Bytes => format!("writer.bytes({value})?;"),
            Type::Struct(_) => format!("{value}.write(writer, version)?;"),
            Type::Array(_) => format!("writer.array({value}, version)?;"),
            Type::Records => format!("writer.{}({value})?;", self.records_method()),
        };
        if field.nullable.is_empty() {
            let borrow = match field.ty {
                Type::String | Type::Bytes | Type::Records | Type::Array(_) => "&",
                _ => "",
            };
            return plain(&format!("{borrow}self.{name}"));
        }
        let (method, view) = match &field.ty {
            Type::String => ("nullable_string", "as_deref()"),
            Type::Bytes => ("nullable_bytes", "as_ref()"),
            Type::Records => (self.nullable_records_method(), "as_ref()"),
            Type::Struct(_) => ("nullable_struct", "as_ref()"),
            Type::Array(_) => ("nullable_array", "as_deref()"),
            other => panic!("{}: {other:?} cannot be null", field.name),
        };
        let version = match field.ty {
            Type::Struct(_) | Type::Array(_) => ", version",
            _ => "",
        };
        let nullable = format!("writer.{method}(self.{name}.{view}{version})?;");
        match field.nullable.condition(field.versions) {
            None => nullable,
            Some(condition) => {
                let path = self.path(field);
                let value = format!("not_null(self.{name}.{view}, \"{path}\", version)?");
                format!("if {condition} {{ {nullable} }} else {{ {} }}", plain(&value))
            }
        }
    }

    fn records_method(&self) -> &'static str {
        match self.definition.kind {
            Kind::Request => "record_bytes",
            _ => "records",
        }
    }

    fn nullable_records_method(&self) -> &'static str {
        match self.definition.kind {
            Kind::Request => "nullable_record_bytes",
            _ => "nullable_records",
        }
    }

    fn refusal(&self, field: &Field) -> String {
        format!("return Err(not_in_version(\"{}\", version));", self.path(field))
    }

    fn path(&self, field: &Field) -> String {
        format!("{}.{}", self.definition.name, field_name(&field.name))
    }

    fn struct_name(&self, name: &str) -> String {
        let prefix = match self.definition.kind {
            Kind::Request => "Request",
            Kind::Response => "Response",
            _ => "",
        };
        if self.ambiguous.contains(name) { format!("{prefix}{name}") } else { name.to_owned() }
    }

    fn field_type(&self, field: &Field) -> String {
        let ty = self.rust_type(&field.ty);
        if is_option(field) { format!("Option<{ty}>") } else { ty }
    }

    fn rust_type(&self, ty: &Type) -> String {
        match ty {
            Type::Bool => "bool".to_owned(),
            Type::I8 => "i8".to_owned(),
            Type::I16 => "i16".to_owned(),
            Type::U16 => "u16".to_owned(),
            Type::I32 => "i32".to_owned(),
            Type::I64 => "i64".to_owned(),
            Type::F64 => "f64".to_owned(),
            Type::Uuid => "Uuid".to_owned(),
            Type::String => "String".to_owned(),
            Type::Bytes => "Bytes".to_owned(),
            Type::Records if self.definition.kind == Kind::Request => "Bytes".to_owned(),
            Type::Records => "RecordSet".to_owned(),
            Type::Struct(name) => self.struct_name(name),
            Type::Array(element) => format!("Vec<{}>", self.rust_type(element)),
        }
    }

    fn default_value(&self, field: &Field) -> String {
        let value = match (&field.default, &field.ty) {
            (Default::Null, _) => return "None".to_owned(),
            (Default::True, _) => "true".to_owned(),
            (Default::Integer(value), ty) => integer_literal(*value, ty),
            (Default::Natural, ty) => match ty {
                Type::Bool => "false".to_owned(),
                Type::I8 | Type::I16 | Type::U16 | Type::I32 | Type::I64 => "0".to_owned(),
                Type::F64 => "0.0".to_owned(),
                Type::Uuid => "Uuid::ZERO".to_owned(),
                Type::String => "String::new()".to_owned(),
                Type::Bytes => "Bytes::new()".to_owned(),
                Type::Records if self.definition.kind == Kind::Request => "Bytes::new()".to_owned(),
                Type::Records => "RecordSet::default()".to_owned(),
                Type::Struct(name) => format!("{}::default()", self.struct_name(name)),
                Type::Array(_) => "Vec::new()".to_owned(),
            },
        };
        if is_option(field) { format!("Some({value})") } else { value }
    }

    fn differs_from_default(&self, field: &Field) -> String {
        let name = field_name(&field.name);
        match (&field.default, &field.ty) {
            (Default::Null, _) => format!("self.{name}.is_some()"),
            (Default::True, Type::Bool) => format!("!self.{name}"),
            (Default::Natural, Type::Bool) => format!("self.{name}"),
            (Default::Natural, Type::String | Type::Bytes | Type::Records | Type::Array(_)) => {
                if is_option(field) {
                    format!("self.{name}.as_ref().is_none_or(|value| !value.is_empty())")
                } else {
                    format!("!self.{name}.is_empty()")
                }
            }
            _ => format!("self.{name} != {}", self.default_value(field)),
        }
    }

    fn ever_flexible(&self, versions: Versions) -> bool {
        !self.definition.flexible.intersect(versions).is_empty()
    }

    /// The fewest bytes that a struct takes in any of its versions, and at least 1.
    fn wire_bytes_min(&self, of: &Struct, fields: &[Field]) -> usize {
        let sizes = of.versions.iter().map(|version| self.wire_bytes_min_in(fields, version));
        sizes.min().unwrap_or(0).max(1)
    }

    fn wire_bytes_min_in(&self, fields: &[Field], version: i16) -> usize {
        let flexible = self.definition.flexible.contains(version);
        let present = |field: &&Field| field.tag.is_none() && field.versions.contains(version);
        let sizes = fields.iter().filter(present).map(|field| match &field.ty {
            Type::Bool | Type::I8 => 1,
            Type::I16 | Type::U16 => 2,
            Type::I32 => 4,
            Type::I64 | Type::F64 => 8,
            Type::Uuid => 16,
            Type::String | Type::Bytes | Type::Records | Type::Array(_) if flexible => 1,
            Type::String => 2,
            Type::Bytes | Type::Records | Type::Array(_) => 4,
            Type::Struct(_) if field.nullable.contains(version) => 1,
            Type::Struct(name) => {
                self.wire_bytes_min_in(&self.definition.find_struct(name).fields, version)
            }
        });
        sizes.sum::<usize>() + usize::from(flexible)
    }
}

fn is_option(field: &Field) -> bool {
    !field.nullable.is_empty()
}

fn default_is_rusts(field: &Field) -> bool {
    match field.default {
        Default::Null => true,
        Default::Natural => !is_option(field),
        Default::Integer(_) | Default::True => false,
    }
}

fn integer_literal(value: i64, ty: &Type) -> String {
    match (value, ty) {
        (i64::MAX, Type::I64) => "i64::MAX".to_owned(),
        (i64::MIN, Type::I64) => "i64::MIN".to_owned(),
        (_, Type::I32) if value == i64::from(i32::MAX) => "i32::MAX".to_owned(),
        (_, Type::I32) if value == i64::from(i32::MIN) => "i32::MIN".to_owned(),
        _ => value.to_string(),
    }
}

/// Whether generated code mentions its parameter `version`, rather than a field of that name.
fn uses_version(body: &str) -> bool {
    let part_of_name = |character: char| character.is_alphanumeric() || "_.".contains(character);
    body.match_indices("version").any(|(at, word)| {
        let (before, after) = (body.get(..at), body.get(at + word.len()..));
        !before.is_some_and(|text| text.ends_with(part_of_name))
            && !after.is_some_and(|text| text.starts_with(|c| part_of_name(c) || c == ':'))
    })
}

/// Where a field exists, if not everywhere.
fn field_docs(field: &Field, scope: Versions) -> Option<String> {
    let mut parts = Vec::new();
    if !field.versions.covers(scope) {
        let shown = if field.versions.last == scope.last {
            Versions { first: field.versions.first, last: i16::MAX }
        } else {
            field.versions
        };
        let shown = shown.to_string();
        parts.push(shown.replacen("version", "Version", 1));
    }
    if let Some(tag) = field.tag {
        parts.push(format!("{} {tag}", if parts.is_empty() { "Tag" } else { "tag" }));
    }
    (!parts.is_empty()).then(|| format!("{}.", parts.join(", ")))
}

fn write_all(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string cannot fail");
}
