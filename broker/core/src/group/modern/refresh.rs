//! From a change to a new epoch and new targets: what a decision leads to beside the member that it
//! is about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_model::ids::StreamId;

use crate::group::assignor::{Partitions, Subscriber, Subscribers};
use crate::group::identity::MemberId;
use crate::group::modern::member::MemberMetadata;
use crate::group::modern::metadata_hash::metadata_hash;
use crate::group::modern::records::{GroupEpoch, ModernRecord, ResolvedRegex};
use crate::group::modern::{Altered, Modern, preferred, regex};
use crate::group::state::Now;

/// What a member asks for: names, and maybe a regular expression for more.
type Subscription<'a> = (&'a BTreeSet<Arc<str>>, Option<&'a Arc<str>>);
/// Topics that several members read, worked out once.
type SharedTopics = Arc<BTreeSet<StreamId>>;

/// What everybody reads, looked up in the present topics.
pub(super) struct Refreshed {
    /// The topics of each regular expression that somebody has.
    pub(super) regexes: BTreeMap<Arc<str>, ResolvedRegex>,
    /// Whether one of them matches other topics than before, or is new or gone.
    pub(super) has_regex_changed: bool,
    /// What changed of them.
    pub(super) records: Vec<ModernRecord>,
    /// Kafka's number for what is subscribed.
    pub(super) metadata_hash: i64,
}

impl Modern {
    /// Whether topics came or went since the epoch was last reckoned.
    pub(super) fn has_new_topics(&self) -> bool {
        self.topics_checked != Some(self.topics.version())
    }

    /// Looks everything up anew for the members as they will be.
    pub(super) fn refresh(&self, altered: Altered<'_>, now: Now) -> Refreshed {
        let members = self.altered(altered);
        let wanted: BTreeSet<&Arc<str>> =
            members.clone().filter_map(|(_, metadata)| metadata.regex.as_ref()).collect();
        let mut regexes = BTreeMap::new();
        let mut records = Vec::new();
        for text in wanted {
            let known = self.regexes.get(text);
            let fresh = known.filter(|known| known.version == self.topics.version());
            let resolved = match fresh {
                // A version from before a restart may be another's by now.
                Some(known) if self.topics_checked.is_some() => known.clone(),
                _ => regex::resolve(text, &self.topics, now.date),
            };
            if known.map(|known| &known.topics) != Some(&resolved.topics) {
                records.push(ModernRecord::Regex(Arc::clone(text), Some(resolved.clone())));
            }
            regexes.insert(Arc::clone(text), resolved);
        }
        let gone = self.regexes.keys().filter(|text| !regexes.contains_key(*text));
        records.extend(gone.map(|text| ModernRecord::Regex(Arc::clone(text), None)));
        let has_regex_changed = !records.is_empty();
        let mut read = BTreeSet::new();
        let mut seen: BTreeSet<Subscription<'_>> = BTreeSet::new();
        for (_, metadata) in members {
            if seen.insert((&metadata.topics, metadata.regex.as_ref())) {
                read.extend(self.subscribed(metadata, &regexes));
            }
        }
        let metadata_hash = metadata_hash(&self.topics, &read);
        Refreshed { regexes, has_regex_changed, records, metadata_hash }
    }

    /// The record of the next epoch.
    pub(super) fn next_epoch(&self, metadata_hash: i64) -> (i32, ModernRecord) {
        let epoch = self.epoch.saturating_add(1);
        (epoch, ModernRecord::Epoch(Some(GroupEpoch { epoch, metadata_hash })))
    }

    /// Works out what everybody is to have in an epoch. `heir_of` is the member whose target a new
    /// one inherits, if it takes a static member's place.
    pub(super) fn assign(
        &self,
        altered: Altered<'_>,
        regexes: &BTreeMap<Arc<str>, ResolvedRegex>,
        heir_of: Option<&MemberId>,
    ) -> BTreeMap<MemberId, Partitions> {
        let mut group = Subscribers::default();
        let mut known: BTreeMap<Subscription<'_>, SharedTopics> = BTreeMap::new();
        let updated_id = altered.updated.map(|(id, _)| id);
        for (id, metadata) in self.altered(altered) {
            let topics = known.entry((&metadata.topics, metadata.regex.as_ref()));
            let topics = topics.or_insert_with(|| Arc::new(self.subscribed(metadata, regexes)));
            for topic in topics.iter() {
                let count = self.topics.partition_count(*topic).unwrap_or(0);
                group.partition_counts.insert(*topic, count);
            }
            let target_of = match heir_of {
                Some(old) if Some(id) == updated_id => old,
                _ => id,
            };
            let subscriber = Subscriber {
                instance: metadata.instance.clone(),
                topics: Arc::clone(topics),
                target: self.targets.get(target_of).cloned().unwrap_or_default(),
            };
            group.members.insert(id.clone(), subscriber);
        }
        let members = self.altered(altered).map(|(_, metadata): (_, &MemberMetadata)| metadata);
        preferred(members).unwrap_or(self.limits.default_assignor).assign(&group)
    }
}
