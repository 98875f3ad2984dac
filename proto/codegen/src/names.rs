//! Rust spellings of the names in message definitions.

/// `TopicId` → `topic_id`, `timeoutMs` → `timeout_ms`; a run of capitals is one word.
pub(crate) fn snake_case(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (index, &character) in characters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| characters.get(before));
        let after = characters.get(index + 1);
        let starts_word = character.is_uppercase()
            && before.is_some_and(|before| {
                !before.is_uppercase() || after.is_some_and(|after| after.is_lowercase())
            });
        if starts_word {
            out.push('_');
        }
        out.extend(character.to_lowercase());
    }
    out
}

/// The name of a field, escaped where Rust reserves it.
pub(crate) fn field_name(name: &str) -> String {
    let snake = snake_case(name);
    match snake.as_str() {
        "type" | "match" | "ref" | "move" | "use" | "where" | "in" | "as" => format!("r#{snake}"),
        _ => snake,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_into_words() {
        for (name, field) in [
            ("TopicId", "topic_id"),
            ("timeoutMs", "timeout_ms"),
            ("ISRNodes", "isr_nodes"),
            ("OffsetForLeaderEpoch", "offset_for_leader_epoch"),
            ("Match", "r#match"),
        ] {
            assert_eq!(field_name(name), field);
        }
    }
}
