//! Resource policies: what an owner says about who else may use a resource. weir keeps them and
//! gives them back as they were written.

use serde_json::Value as Json;

use crate::broker::Broker;
use crate::error::{AmendError, PolicyRefusal};
use crate::stream::labels::Resource;

/// Longest policy, in bytes: AWS's 20 KB.
pub const POLICY_BYTES_MAX: usize = 20 * 1024;

/// A policy as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy(String);

impl Policy {
    /// Checks that it is a policy document: JSON with at least one statement. What its statements
    /// say is not looked at.
    pub fn new(text: &str) -> Result<Policy, PolicyRefusal> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyRefusal::TooLong { bytes_max: POLICY_BYTES_MAX });
        }
        let document: Json = serde_json::from_str(text).map_err(|_| PolicyRefusal::NotJson)?;
        match document.get("Statement") {
            Some(Json::Object(_)) => {}
            Some(Json::Array(statements))
                if !statements.is_empty() && statements.iter().all(Json::is_object) => {}
            _ => return Err(PolicyRefusal::NoStatement),
        }
        Ok(Policy(text.to_owned()))
    }

    /// The text, to the letter.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A policy that was checked when it was written.
    pub(super) fn of_row(text: String) -> Policy {
        Policy(text)
    }
}

impl Broker {
    /// Gives a resource this policy in place of the one that it has, or none.
    pub async fn change_policy(
        &self,
        resource: Resource,
        policy: Option<Policy>,
    ) -> Result<(), AmendError<PolicyRefusal>> {
        let amended = self.registry().amend(resource.stream, move |draft| {
            draft.labels_of(resource.consumer.as_ref())?.policy = policy;
            Ok(())
        });
        amended.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_a_statement() {
        let long = format!(r#"{{"Statement":[{{}}],"Id":"{}"}}"#, "x".repeat(POLICY_BYTES_MAX));
        let too_long = PolicyRefusal::TooLong { bytes_max: POLICY_BYTES_MAX };
        for (text, expected) in [
            (r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow"}]}"#, Ok(())),
            (r#" {"Statement": {"Effect":"Deny"}} "#, Ok(())),
            (r#"{"Statement":[]}"#, Err(PolicyRefusal::NoStatement)),
            (r#"{"Statement":["x"]}"#, Err(PolicyRefusal::NoStatement)),
            ("{}", Err(PolicyRefusal::NoStatement)),
            ("[]", Err(PolicyRefusal::NoStatement)),
            ("", Err(PolicyRefusal::NotJson)),
            (r#"{"Statement":"#, Err(PolicyRefusal::NotJson)),
            (&long, Err(too_long)),
        ] {
            let policy = Policy::new(text);
            assert_eq!(policy.clone().map(drop), expected, "{text}");
            assert!(policy.is_err() || policy.is_ok_and(|policy| policy.as_str() == text));
        }
    }
}
