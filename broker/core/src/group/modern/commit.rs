//! Who may commit and fetch offsets: members in their present epoch.

use std::collections::BTreeSet;

use crate::group::error::GroupError;
use crate::group::identity::Claim;
use crate::group::modern::Modern;

impl Modern {
    /// An epoch that has passed is refused, so that a member does not commit for a partition that
    /// another has by now.
    pub(in crate::group) fn check_commit(&self, claim: &Claim) -> Result<(), GroupError> {
        if claim.generation.is_none() && self.members.is_empty() {
            return Ok(());
        }
        self.check_epoch(claim)
    }

    pub(in crate::group) fn check_epoch(&self, claim: &Claim) -> Result<(), GroupError> {
        let id = claim.member.as_ref().ok_or(GroupError::UnknownMember)?;
        let member = self.members.get(id).ok_or(GroupError::UnknownMember)?;
        match claim.generation {
            Some(epoch) if epoch == member.current.epoch => Ok(()),
            _ if member.is_classic() => Err(GroupError::IllegalGeneration),
            _ => Err(GroupError::StaleMemberEpoch),
        }
    }

    /// The names of everything that members read, whether it exists or not.
    pub(in crate::group) fn subscribed_names(&self) -> BTreeSet<String> {
        let named = self.members.values().flat_map(|member| &member.metadata.topics);
        let matched = self.regexes.values().flat_map(|resolved| &resolved.topics);
        named.chain(matched).map(|name| name.to_string()).collect()
    }
}
