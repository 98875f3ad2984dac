//! What a change of the definitions would break for clients that were built with earlier ones.
//!
//! Both sets of definitions are written down as facts, a line for each message, field, enum value
//! and method, under names that a change does not move. A fact of the earlier set that the later
//! one does not have, or states otherwise, is a break; what only the later one has is an addition.

use std::collections::BTreeMap;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
};

/// By what it is about: what holds of it.
type Facts = BTreeMap<String, String>;

/// What a client of the `earlier` definitions would miss or misread in the `later` ones, a sentence
/// each; nothing if there are additions only.
pub(crate) fn breaks(earlier: &FileDescriptorSet, later: &FileDescriptorSet) -> Vec<String> {
    let later = facts(later);
    let judged = facts(earlier).into_iter().filter_map(|(about, was)| match later.get(&about) {
        Some(is) if *is == was => None,
        Some(is) => Some(format!("{about} was \"{was}\" and is \"{is}\"")),
        None => Some(format!("{about} is gone; it was \"{was}\"")),
    });
    judged.collect()
}

fn facts(set: &FileDescriptorSet) -> Facts {
    let mut facts = Facts::new();
    for file in &set.file {
        let package = file.package();
        for message in &file.message_type {
            note_message(&mut facts, package, message);
        }
        for one in &file.enum_type {
            note_enum(&mut facts, package, one);
        }
        for service in &file.service {
            note_service(&mut facts, package, service);
        }
    }
    facts
}

fn note_message(facts: &mut Facts, within: &str, message: &DescriptorProto) {
    let name = format!("{within}.{}", message.name());
    facts.insert(format!("message {name}"), "there".to_owned());
    for field in &message.field {
        // By its number, which is all that there is of it on the wire.
        facts.insert(format!("field {} of {name}", field.number()), field_fact(message, field));
    }
    for nested in &message.nested_type {
        note_message(facts, &name, nested);
    }
    for one in &message.enum_type {
        note_enum(facts, &name, one);
    }
}

fn field_fact(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let label = match field.label() {
        Label::Optional if field.proto3_optional() => "optional ",
        Label::Optional => "",
        Label::Required => "required ",
        Label::Repeated => "repeated ",
    };
    let kind = match field.r#type() {
        Type::Message | Type::Enum | Type::Group => field.type_name().to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let choice = field.oneof_index.filter(|_| !field.proto3_optional());
    let choice = choice.and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?));
    let choice = choice.map(|oneof| format!(", one of {}", oneof.name())).unwrap_or_default();
    format!("{label}{kind} {}{choice}", field.name())
}

fn note_enum(facts: &mut Facts, within: &str, one: &EnumDescriptorProto) {
    let name = format!("{within}.{}", one.name());
    for value in &one.value {
        let about = format!("value {} of {name}", value.name());
        facts.insert(about, value.number().to_string());
    }
}

fn note_service(facts: &mut Facts, package: &str, service: &ServiceDescriptorProto) {
    for method in &service.method {
        let about = format!("method {package}.{}/{}", service.name(), method.name());
        facts.insert(about, method_fact(method));
    }
}

fn method_fact(method: &MethodDescriptorProto) -> String {
    let side = |is_streaming, name: &str| match is_streaming {
        true => format!("stream {name}"),
        false => name.to_owned(),
    };
    let asked = side(method.client_streaming(), method.input_type());
    format!("({asked}) returns ({})", side(method.server_streaming(), method.output_type()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Definitions of every kind.
    const EXAMPLE: &str = r#"
        syntax = "proto3";
        package example;
        service Parts {
          rpc Show(Asked) returns (Answer);
          rpc Watch(Asked) returns (stream Answer);
        }
        message Asked {
          string name = 1;
          optional uint64 limit = 2;
          oneof place { uint32 index = 3; string key = 4; }
          enum Kind { KIND_ANY = 0; KIND_ONE = 1; }
        }
        message Answer {
          repeated Asked asked = 1;
          map<string, int64> counts = 2;
          Colour colour = 3;
        }
        enum Colour { COLOUR_NONE = 0; COLOUR_RED = 1; }
    "#;

    fn compiled(text: &str) -> FileDescriptorSet {
        let folder = tempfile::tempdir().expect("can make a folder");
        std::fs::write(folder.path().join("example.proto"), text).expect("can write");
        protox::compile(["example.proto"], [folder.path()]).expect("compiles")
    }

    fn breaks_of(change: (&str, &str)) -> Vec<String> {
        assert!(EXAMPLE.contains(change.0), "{change:?} changes nothing");
        breaks(&compiled(EXAMPLE), &compiled(&EXAMPLE.replace(change.0, change.1)))
    }

    #[test]
    fn what_is_gone_or_changed_is_a_break() {
        for (change, told) in [
            (("string name = 1;", ""), "field 1 of example.Asked is gone"),
            (("string name = 1;", "string title = 1;"), "was \"string name\" and is"),
            (("string name = 1;", "string name = 7;"), "field 1 of example.Asked is gone"),
            (("string name = 1;", "bytes name = 1;"), "is \"bytes name\""),
            (("string name = 1;", "repeated string name = 1;"), "is \"repeated string name\""),
            (("optional uint64 limit", "uint64 limit"), "was \"optional uint64 limit\""),
            (
                ("oneof place { uint32 index = 3;", "uint32 index = 3; oneof place {"),
                "was \"uint32 index, one of place\" and is \"uint32 index\"",
            ),
            (("repeated Asked asked", "repeated Colour asked"), "was \"repeated .example.Asked"),
            (("map<string, int64>", "map<string, int32>"), "field 2 of example.Answer.CountsEntry"),
            (("COLOUR_RED = 1", "COLOUR_RED = 2"), "COLOUR_RED of example.Colour was \"1\""),
            (("KIND_ONE = 1;", ""), "KIND_ONE of example.Asked.Kind is gone"),
            (("rpc Show(Asked) returns (Answer);", ""), "method example.Parts/Show is gone"),
            (("rpc Show(Asked)", "rpc Show(Answer)"), "was \"(.example.Asked)"),
            (("rpc Show(Asked)", "rpc Show(stream Asked)"), "is \"(stream .example.Asked)"),
            (("(stream Answer)", "(Answer)"), "returns (.example.Answer)"),
        ] {
            let found = breaks_of(change);
            assert!(found.iter().any(|text| text.contains(told)), "{change:?}: {found:?}");
        }
    }

    #[test]
    fn a_message_that_is_gone_is_a_break() {
        let mut later = compiled(EXAMPLE);
        for file in &mut later.file {
            file.message_type.retain(|message| message.name() != "Asked");
        }
        let found = breaks(&compiled(EXAMPLE), &later);
        assert!(found.contains(&"message example.Asked is gone; it was \"there\"".to_owned()));
    }

    #[test]
    fn additions_and_other_words_and_orders_are_none() {
        for change in [
            ("string name = 1;", "// Said better.\n string name = 1; bytes more = 9;"),
            ("COLOUR_RED = 1;", "COLOUR_RED = 1; COLOUR_BLUE = 2;"),
            (
                "rpc Show(Asked) returns (Answer);",
                "rpc Count(Asked) returns (Answer);\
              rpc Show(Asked) returns (Answer);",
            ),
            ("message Answer {", "message Other { string text = 1; } message Answer {"),
            ("uint32 index = 3; string key = 4;", "string key = 4; uint32 index = 3;"),
        ] {
            assert_eq!(breaks_of(change), Vec::<String>::new(), "{change:?}");
        }
    }

    #[test]
    fn facts_tell_each_field_and_method() {
        let facts = facts(&compiled(EXAMPLE));
        let fact = |about: &str| facts.get(about).map(String::as_str);
        assert_eq!(fact("field 3 of example.Asked"), Some("uint32 index, one of place"));
        assert_eq!(
            fact("method example.Parts/Watch"),
            Some("(.example.Asked) returns (stream .example.Answer)")
        );
    }
}
