import static java.util.Map.entry;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.quota.ClientQuotaFilterComponent;

/**
 * Every method of the AdminClient but for those that are about KRaft, replicas, transactions, share
 * or Streams groups, and security; each with good arguments and with some that a broker refuses.
 *
 * <p>They are made in the order of this table, since each finds what the ones before it left.
 */
final class AdminCalls implements AutoCloseable {

    /** What a call gives back is rendered: a result, a future, or a collection of either. */
    interface Call {
        Object make() throws Exception;
    }

    static final String TOPIC = "admin-topic";
    static final String OTHER = "admin-other";
    static final String MISSING = "admin-missing";
    static final String GROUP = "admin-group";
    static final int BROKER = 1;
    static final TopicPartition FIRST = new TopicPartition(TOPIC, 0);
    static final TopicPartition SECOND = new TopicPartition(TOPIC, 1);
    static final TopicPartition BEYOND = new TopicPartition(TOPIC, 99);
    static final TopicPartition NOWHERE = new TopicPartition(MISSING, 0);
    static final Uuid NO_ID = new Uuid(1, 2);

    final String bootstrap;
    final Admin admin;
    final Map<String, Call> calls = new LinkedHashMap<>();
    /** The id of OTHER, known once it is described. */
    Uuid otherId;

    AdminCalls(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap, "client.id", "admin"));
        topics();
        records();
        configs();
        configRefusals();
        groupOffsets();
        groups();
        quotas();
        cluster();
        deletions();
    }

    Collection<String> names() {
        return calls.keySet();
    }

    String call(String name) throws Exception {
        try {
            return Rendered.of(calls.get(name).make());
        } catch (RuntimeException refused) {
            return "thrown: " + Rendered.failure(refused);
        }
    }

    @Override
    public void close() {
        admin.close();
    }

    void topics() {
        calls.put("createTopics", () -> {
            var result = admin.createTopics(List.of(
                // Its records are old and must not go to retention.
                new NewTopic(TOPIC, 2, (short) 1).configs(Map.of("retention.ms", "-1")),
                new NewTopic(OTHER, Optional.empty(), Optional.empty())
                    .configs(Map.of("retention.ms", "60000", "cleanup.policy", "delete"))
            ));
            return List.of(
                result,
                result.numPartitions(TOPIC),
                result.replicationFactor(TOPIC),
                result.config(OTHER)
            );
        });
        calls.put("createTopics with an assignment", () ->
            admin.createTopics(List.of(new NewTopic("admin-assigned", Map.of(
                0, List.of(BROKER),
                1, List.of(BROKER)
            ))))
        );
        calls.put("createTopics, refused", () -> admin.createTopics(List.of(
            new NewTopic(TOPIC, 2, (short) 1),
            new NewTopic("admin-none", 0, (short) 1),
            new NewTopic("admin-replicated", 1, (short) 3),
            new NewTopic("admin bad name", 1, (short) 1),
            new NewTopic("..", 1, (short) 1),
            new NewTopic("x".repeat(250), 1, (short) 1),
            new NewTopic("admin.topic", 1, (short) 1),
            new NewTopic("admin-config", 1, (short) 1).configs(Map.of("no.such", "1")),
            new NewTopic("admin-value", 1, (short) 1).configs(Map.of("retention.ms", "x")),
            new NewTopic("admin-foreign", Map.of(0, List.of(9))),
            new NewTopic("admin-gap", Map.of(1, List.of(BROKER)))
        )).values());
        calls.put("createTopics, only validated", () -> {
            var options = new CreateTopicsOptions().validateOnly(true);
            var topic = new NewTopic("admin-validated", 3, (short) 1);
            var result = admin.createTopics(List.of(topic), options);
            return List.of(result, result.numPartitions("admin-validated"));
        });
        calls.put("listTopics", () -> admin.listTopics().names());
        calls.put("listTopics, internal too", () ->
            admin.listTopics(new ListTopicsOptions().listInternal(true)).listings()
                .get().stream().filter(topic -> !topic.isInternal())
                .collect(Collectors.toSet())
        );
        calls.put("describeTopics", () -> {
            var result = admin.describeTopics(List.of(TOPIC, OTHER, MISSING, "a b"));
            otherId = result.topicNameValues().get(OTHER).get().topicId();
            return result.topicNameValues();
        });
        calls.put("describeTopics by id", () -> {
            var result = admin.describeTopics(TopicCollection.ofTopicIds(List.of(otherId, NO_ID)));
            return byId(result.topicIdValues());
        });
        calls.put("describeTopics with authorised operations", () -> admin.describeTopics(
            List.of(TOPIC),
            new DescribeTopicsOptions().includeAuthorizedOperations(true)
        ).allTopicNames().get().get(TOPIC).authorizedOperations());
        calls.put("createPartitions", () -> admin.createPartitions(Map.ofEntries(
            entry(TOPIC, NewPartitions.increaseTo(4)),
            entry(OTHER, NewPartitions.increaseTo(1)),
            entry("admin-assigned", NewPartitions.increaseTo(3, List.of(List.of(BROKER)))),
            entry(MISSING, NewPartitions.increaseTo(2))
        )).values());
        calls.put("createPartitions, refused", () -> admin.createPartitions(Map.ofEntries(
            entry(TOPIC, NewPartitions.increaseTo(2)),
            entry(OTHER, NewPartitions.increaseTo(-1)),
            entry("admin-assigned", NewPartitions.increaseTo(5, List.of(List.of(9))))
        )).values());
        calls.put("createPartitions, only validated", () -> admin.createPartitions(
            Map.of(TOPIC, NewPartitions.increaseTo(9)),
            new CreatePartitionsOptions().validateOnly(true)
        ));
        calls.put("describeTopics with more partitions", () ->
            admin.describeTopics(List.of(TOPIC, "admin-assigned")).topicNameValues()
        );
    }

    void records() {
        for (TopicPartition partition : List.of(FIRST, SECOND)) {
            calls.put("(records written to " + partition + ")", () ->
                Records.write(bootstrap, TOPIC, partition.partition(), 10));
        }
        calls.put("listOffsets", () -> offsets(FIRST, Map.of(
            "earliest", OffsetSpec.earliest(),
            "latest", OffsetSpec.latest(),
            "max timestamp", OffsetSpec.maxTimestamp(),
            "time of the fifth", OffsetSpec.forTimestamp(Records.START_MS + 4),
            "before all", OffsetSpec.forTimestamp(0),
            "after all", OffsetSpec.forTimestamp(Records.START_MS + 1_000_000),
            "earliest local", OffsetSpec.earliestLocal(),
            "latest tiered", OffsetSpec.latestTiered(),
            "earliest pending upload", OffsetSpec.earliestPendingUpload()
        )));
        calls.put("listOffsets of an empty partition", () ->
            offsets(new TopicPartition(TOPIC, 3), Map.of(
                "earliest", OffsetSpec.earliest(),
                "latest", OffsetSpec.latest(),
                "max timestamp", OffsetSpec.maxTimestamp(),
                "by time", OffsetSpec.forTimestamp(0),
                "earliest local", OffsetSpec.earliestLocal(),
                "latest tiered", OffsetSpec.latestTiered()
            ))
        );
        calls.put("listOffsets, read committed", () -> admin.listOffsets(
            Map.of(FIRST, OffsetSpec.latest()),
            new ListOffsetsOptions(IsolationLevel.READ_COMMITTED)
        ).partitionResult(FIRST));
        calls.put("listOffsets where there is nothing", () -> {
            var options = new ListOffsetsOptions();
            options.timeoutMs(2000);
            return admin.listOffsets(Map.of(NOWHERE, OffsetSpec.latest()), options)
                .partitionResult(NOWHERE);
        });
        calls.put("deleteRecords", () -> admin.deleteRecords(Map.of(
            FIRST, RecordsToDelete.beforeOffset(3),
            SECOND, RecordsToDelete.beforeOffset(-1)
        )).lowWatermarks());
        calls.put("deleteRecords, refused", () -> admin.deleteRecords(Map.of(
            FIRST, RecordsToDelete.beforeOffset(1000),
            SECOND, RecordsToDelete.beforeOffset(-5)
        )).lowWatermarks());
        calls.put("deleteRecords of what is deleted already", () -> admin.deleteRecords(Map.of(
            FIRST, RecordsToDelete.beforeOffset(1)
        )).lowWatermarks());
        calls.put("listOffsets after deleteRecords", () -> offsets(FIRST, Map.of(
            "earliest", OffsetSpec.earliest(),
            "latest", OffsetSpec.latest(),
            "time of the first", OffsetSpec.forTimestamp(Records.START_MS)
        )));
        calls.put("describeProducers", () -> admin.describeProducers(List.of(FIRST))
            .partitionResult(FIRST));
        calls.put("describeProducers of nothing", () -> {
            var options = new DescribeProducersOptions().timeoutMs(2000);
            return admin.describeProducers(List.of(BEYOND), options).partitionResult(BEYOND);
        });
        calls.put("describeLogDirs", () -> ofTopic(TOPIC, admin.describeLogDirs(List.of(BROKER))
            .descriptions().get(BROKER).get()));
        calls.put("describeReplicaLogDirs", () -> admin.describeReplicaLogDirs(List.of(
            new TopicPartitionReplica(TOPIC, 0, BROKER),
            new TopicPartitionReplica(MISSING, 0, BROKER)
        )).values());
    }

    Object offsets(TopicPartition partition, Map<String, OffsetSpec> wanted) {
        return wanted.entrySet().stream().collect(Collectors.toMap(Map.Entry::getKey, spec ->
            admin.listOffsets(Map.of(partition, spec.getValue())).partitionResult(partition)
        ));
    }

    /** The replicas of one topic: what other parts of the run left is not compared here. */
    static Object ofTopic(String topic, Map<String, LogDirDescription> directories) {
        return directories.values().stream().map(directory -> directory.replicaInfos().entrySet()
            .stream().filter(replica -> replica.getKey().topic().equals(topic))
            .collect(Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue))
        ).toList();
    }

    /** What two ids lead to: their own text is another one in each run. */
    Object byId(Map<Uuid, ?> results) {
        return Map.of("of a topic", results.get(otherId), "of no topic", results.get(NO_ID));
    }

    static ConfigResource resource(ConfigResource.Type type, Object name) {
        return new ConfigResource(type, name.toString());
    }

    static ConfigResource topicResource(String name) {
        return resource(ConfigResource.Type.TOPIC, name);
    }

    static AlterConfigOp set(String name, String value) {
        return new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET);
    }

    static AlterConfigOp op(AlterConfigOp.OpType type, String name, String value) {
        return new AlterConfigOp(new ConfigEntry(name, value), type);
    }

    Object alter(ConfigResource resource, AlterConfigOp... operations) {
        return admin.incrementalAlterConfigs(Map.of(resource, List.of(operations))).all();
    }

    Object configOf(ConfigResource... resources) {
        return admin.describeConfigs(List.of(resources)).values();
    }

    void configs() {
        ConfigResource topic = topicResource(TOPIC);
        ConfigResource broker = resource(ConfigResource.Type.BROKER, BROKER);
        ConfigResource cluster = resource(ConfigResource.Type.BROKER, "");
        ConfigResource group = resource(ConfigResource.Type.GROUP, GROUP);
        ConfigResource metrics = resource(ConfigResource.Type.CLIENT_METRICS, "admin-metrics");
        calls.put("describeConfigs of topics", () ->
            configOf(topic, topicResource(OTHER), topicResource(MISSING)));
        calls.put("describeConfigs with synonyms and documentation", () -> admin.describeConfigs(
            List.of(topic),
            new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true)
        ).values());
        calls.put("describeConfigs of the broker", () -> configOf(broker));
        calls.put("describeConfigs of all brokers", () -> configOf(cluster));
        calls.put("describeConfigs of a group", () -> configOf(group));
        calls.put("describeConfigs of client metrics", () -> configOf(metrics));
        calls.put("describeConfigs of a broker that is not there", () -> admin.describeConfigs(
            List.of(resource(ConfigResource.Type.BROKER, 9)),
            new DescribeConfigsOptions().timeoutMs(2000)
        ).values());
        calls.put("incrementalAlterConfigs, set", () -> alter(
            topic,
            set("segment.ms", "3600000"),
            set("max.message.bytes", "2000000"),
            op(AlterConfigOp.OpType.APPEND, "cleanup.policy", "compact")
        ));
        calls.put("describeConfigs after set and append", () -> configOf(topic));
        calls.put("incrementalAlterConfigs, delete and subtract", () -> alter(
            topic,
            op(AlterConfigOp.OpType.DELETE, "segment.ms", null),
            op(AlterConfigOp.OpType.SUBTRACT, "cleanup.policy", "compact")
        ));
        calls.put("describeConfigs after delete and subtract", () -> configOf(topic));
        calls.put("incrementalAlterConfigs, only validated", () -> admin.incrementalAlterConfigs(
            Map.of(topic, List.of(set("retention.ms", "5"))),
            new AlterConfigsOptions().validateOnly(true)
        ));
        calls.put("incrementalAlterConfigs of all brokers", () ->
            alter(cluster, set("log.retention.ms", "7200000")));
        calls.put("incrementalAlterConfigs of one broker", () ->
            alter(broker, set("message.max.bytes", "1500000")));
        calls.put("describeConfigs of all brokers, altered", () -> configOf(cluster));
        calls.put("describeConfigs of what a topic inherits", () -> configOf(topicResource(OTHER)));
        calls.put("incrementalAlterConfigs of brokers, back", () -> List.of(
            alter(cluster, op(AlterConfigOp.OpType.DELETE, "log.retention.ms", null)),
            alter(broker, op(AlterConfigOp.OpType.DELETE, "message.max.bytes", null))
        ));
        calls.put("incrementalAlterConfigs of a group", () ->
            alter(group, set("consumer.session.timeout.ms", "50000")));
        calls.put("describeConfigs of a group, altered", () -> configOf(group));
        calls.put("incrementalAlterConfigs of client metrics", () -> alter(
            metrics,
            set("interval.ms", "60000"),
            set("metrics", "org.apache.kafka.producer."),
            set("match", "client_id=admin.*")
        ));
        calls.put("describeConfigs of client metrics, altered", () -> configOf(metrics));
        calls.put("listConfigResources", () -> admin.listConfigResources(
            Set.of(ConfigResource.Type.GROUP, ConfigResource.Type.CLIENT_METRICS),
            new ListConfigResourcesOptions()
        ));
        calls.put("incrementalAlterConfigs of a group, back", () ->
            alter(group, op(AlterConfigOp.OpType.DELETE, "consumer.session.timeout.ms", null)));
        calls.put("listConfigResources of brokers", () -> admin.listConfigResources(
            Set.of(ConfigResource.Type.BROKER),
            new ListConfigResourcesOptions()
        ));
        calls.put("listClientMetricsResources", () -> admin.listClientMetricsResources());
        calls.put("incrementalAlterConfigs of client metrics, back", () -> alter(
            metrics,
            op(AlterConfigOp.OpType.DELETE, "interval.ms", null),
            op(AlterConfigOp.OpType.DELETE, "metrics", null),
            op(AlterConfigOp.OpType.DELETE, "match", null)
        ));
    }

    void configRefusals() {
        ConfigResource topic = topicResource(TOPIC);
        Map<String, AlterConfigOp> refused = new LinkedHashMap<>();
        refused.put("unknown name", set("no.such.config", "1"));
        refused.put("not a number", set("retention.ms", "soon"));
        refused.put("below its minimum", set("segment.bytes", "1"));
        refused.put("not one of its values", set("cleanup.policy", "burn"));
        refused.put("not a boolean", set("unclean.leader.election.enable", "maybe"));
        refused.put("not a list", op(AlterConfigOp.OpType.APPEND, "retention.ms", "5"));
        refused.put("not a compression", set("compression.type", "brotli"));
        refused.put("ratio above 1", set("min.cleanable.dirty.ratio", "2"));
        refused.put("a listener of replicas", set("leader.replication.throttled.replicas", "x"));
        refused.put("no value", set("retention.ms", null));
        refused.forEach((name, operation) ->
            calls.put("incrementalAlterConfigs, refused: " + name, () -> alter(topic, operation)));
        calls.put("incrementalAlterConfigs, refused: no such topic", () ->
            alter(topicResource(MISSING), set("retention.ms", "5")));
        calls.put("incrementalAlterConfigs, refused: one config twice", () ->
            alter(topic, set("retention.ms", "5"), set("retention.ms", "6")));
        calls.put("incrementalAlterConfigs, refused: no such broker", () ->
            admin.incrementalAlterConfigs(
                Map.of(
                    resource(ConfigResource.Type.BROKER, 9),
                    List.of(set("message.max.bytes", "5"))
                ),
                new AlterConfigsOptions().timeoutMs(2000)
            ).all());
        calls.put("incrementalAlterConfigs, refused: read-only", () ->
            alter(resource(ConfigResource.Type.BROKER, BROKER), set("node.id", "5")));
        calls.put("incrementalAlterConfigs, refused: unknown to groups", () ->
            alter(resource(ConfigResource.Type.GROUP, GROUP), set("no.such.config", "5")));
        calls.put("incrementalAlterConfigs, refused: below the group minimum", () -> alter(
            resource(ConfigResource.Type.GROUP, GROUP),
            set("consumer.session.timeout.ms", "1")
        ));
        calls.put("incrementalAlterConfigs, refused: unknown to client metrics", () -> alter(
            resource(ConfigResource.Type.CLIENT_METRICS, "admin-metrics"),
            set("no.such.config", "5")
        ));
    }

    void groupOffsets() {
        var commits = Map.of(
            FIRST, new OffsetAndMetadata(4, "a note"),
            SECOND, new OffsetAndMetadata(5)
        );
        calls.put("alterConsumerGroupOffsets", () ->
            admin.alterConsumerGroupOffsets(GROUP, commits));
        calls.put("alterConsumerGroupOffsets, refused", () -> {
            var result = admin.alterConsumerGroupOffsets(GROUP, Map.of(
                BEYOND, new OffsetAndMetadata(1),
                FIRST, new OffsetAndMetadata(6, "x".repeat(5000)),
                NOWHERE, new OffsetAndMetadata(1)
            ));
            return Map.of(
                "beyond", result.partitionResult(BEYOND),
                "long note", result.partitionResult(FIRST),
                "nowhere", result.partitionResult(NOWHERE)
            );
        });
        calls.put("listConsumerGroupOffsets", () ->
            admin.listConsumerGroupOffsets(GROUP).partitionsToOffsetAndMetadata());
        calls.put("listConsumerGroupOffsets of some partitions and groups", () -> {
            var some = new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(FIRST, BEYOND));
            var all = new ListConsumerGroupOffsetsSpec();
            return admin.listConsumerGroupOffsets(Map.of(GROUP, some, "admin-nobody", all)).all();
        });
        calls.put("deleteConsumerGroupOffsets", () ->
            admin.deleteConsumerGroupOffsets(GROUP, Set.of(SECOND)));
        calls.put("deleteConsumerGroupOffsets, refused", () -> List.of(
            admin.deleteConsumerGroupOffsets(GROUP, Set.of(BEYOND)).all(),
            admin.deleteConsumerGroupOffsets(GROUP, Set.of(NOWHERE)).all(),
            admin.deleteConsumerGroupOffsets("admin-nobody", Set.of(FIRST)).all()
        ));
        calls.put("listConsumerGroupOffsets after a deletion", () ->
            admin.listConsumerGroupOffsets(GROUP).partitionsToOffsetAndMetadata());
    }

    void groups() {
        calls.put("listGroups", () -> admin.listGroups());
        calls.put("listGroups by type", () ->
            admin.listGroups(new ListGroupsOptions().withTypes(Set.of(GroupType.CLASSIC))));
        calls.put("listGroups by state", () -> admin.listGroups(
            new ListGroupsOptions().inGroupStates(Set.of(GroupState.STABLE))
        ));
        calls.put("listGroups by protocol type", () -> admin.listGroups(
            new ListGroupsOptions().withProtocolTypes(Set.of("consumer"))
        ));
        calls.put("listConsumerGroups", () ->
            admin.listGroups(ListGroupsOptions.forConsumerGroups()));
        calls.put("describeConsumerGroups", () -> admin
            .describeConsumerGroups(List.of(GROUP, "admin-nobody")).describedGroups());
        calls.put("describeConsumerGroups with authorised operations", () ->
            admin.describeConsumerGroups(
                List.of(GROUP),
                new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true)
            ).all().get().get(GROUP).authorizedOperations());
        calls.put("describeClassicGroups", () -> admin
            .describeClassicGroups(List.of(GROUP, "admin-nobody")).describedGroups());
        calls.put("removeMembersFromConsumerGroup, a static member that is not there", () -> {
            var member = new MemberToRemove("nobody");
            var options = new RemoveMembersFromConsumerGroupOptions(List.of(member));
            var result = admin.removeMembersFromConsumerGroup(GROUP, options);
            return List.of(result.all(), result.memberResult(member));
        });
        calls.put("removeMembersFromConsumerGroup, all of none", () -> admin
            .removeMembersFromConsumerGroup(GROUP, new RemoveMembersFromConsumerGroupOptions())
            .all());
        calls.put("removeMembersFromConsumerGroup of no group", () -> admin
            .removeMembersFromConsumerGroup(
                "admin-nobody",
                new RemoveMembersFromConsumerGroupOptions()
            ).all());
    }

    static ClientQuotaEntity entity(String... typesAndNames) {
        Map<String, String> entries = new LinkedHashMap<>();
        for (int index = 0; index < typesAndNames.length; index += 2) {
            entries.put(typesAndNames[index], typesAndNames[index + 1]);
        }
        return new ClientQuotaEntity(entries);
    }

    Object quota(ClientQuotaEntity entity, String name, Double value) {
        var operation = new ClientQuotaAlteration.Op(name, value);
        return admin.alterClientQuotas(
            List.of(new ClientQuotaAlteration(entity, List.of(operation)))
        ).values();
    }

    void quotas() {
        var accepted = Map.ofEntries(
            entry("user", entity("user", "alice")),
            entry("client", entity("client-id", "one")),
            entry("user and client", entity("user", "alice", "client-id", "one")),
            entry("default user", entity("user", null)),
            entry("default client of a user", entity("user", "alice", "client-id", null))
        );
        accepted.entrySet().stream().sorted(Map.Entry.comparingByKey()).forEach(target ->
            calls.put("alterClientQuotas of " + target.getKey(), () ->
                quota(target.getValue(), "consumer_byte_rate", 1e12)));
        calls.put("alterClientQuotas of ip", () ->
            quota(entity("ip", "127.0.0.2"), "connection_creation_rate", 100.0));
        calls.put("describeClientQuotas", () ->
            admin.describeClientQuotas(ClientQuotaFilter.all()));
        calls.put("describeClientQuotas of a user", () -> admin.describeClientQuotas(
            ClientQuotaFilter.contains(List.of(
                ClientQuotaFilterComponent.ofEntity("user", "alice")
            ))
        ));
        calls.put("describeClientQuotas of only a user", () -> admin.describeClientQuotas(
            ClientQuotaFilter.containsOnly(List.of(
                ClientQuotaFilterComponent.ofEntity("user", "alice")
            ))
        ));
        calls.put("describeClientQuotas of any client", () -> admin.describeClientQuotas(
            ClientQuotaFilter.contains(List.of(
                ClientQuotaFilterComponent.ofEntityType("client-id")
            ))
        ));
        calls.put("describeClientQuotas of the default user", () -> admin.describeClientQuotas(
            ClientQuotaFilter.contains(List.of(
                ClientQuotaFilterComponent.ofDefaultEntity("user")
            ))
        ));
        quotaRefusals();
        accepted.entrySet().stream().sorted(Map.Entry.comparingByKey()).forEach(target ->
            calls.put("alterClientQuotas, back: " + target.getKey(), () ->
                quota(target.getValue(), "consumer_byte_rate", null)));
        calls.put("alterClientQuotas, back: ip", () ->
            quota(entity("ip", "127.0.0.2"), "connection_creation_rate", null));
        calls.put("describeClientQuotas, all back", () ->
            admin.describeClientQuotas(ClientQuotaFilter.all()));
    }

    void quotaRefusals() {
        ClientQuotaEntity alice = entity("user", "alice");
        calls.put("alterClientQuotas, refused: unknown name", () ->
            quota(alice, "no_such_rate", 1.0));
        calls.put("alterClientQuotas, refused: zero", () ->
            quota(alice, "consumer_byte_rate", 0.0));
        calls.put("alterClientQuotas, refused: negative", () ->
            quota(alice, "request_percentage", -1.0));
        calls.put("alterClientQuotas, refused: a fraction of a byte", () ->
            quota(alice, "producer_byte_rate", 0.5));
        calls.put("alterClientQuotas, refused: a name of ips for a user", () ->
            quota(alice, "connection_creation_rate", 1.0));
        calls.put("alterClientQuotas, refused: not an ip", () ->
            quota(entity("ip", "not an ip"), "connection_creation_rate", 1.0));
        calls.put("alterClientQuotas, refused: ip with user", () ->
            quota(entity("ip", "127.0.0.2", "user", "alice"), "connection_creation_rate", 1.0));
        calls.put("alterClientQuotas, refused: unknown type", () ->
            quota(entity("planet", "earth"), "consumer_byte_rate", 1.0));
        calls.put("alterClientQuotas, refused: empty name", () ->
            quota(entity("user", ""), "consumer_byte_rate", 1.0));
        calls.put("describeClientQuotas, refused: unknown type", () -> admin.describeClientQuotas(
            ClientQuotaFilter.contains(List.of(
                ClientQuotaFilterComponent.ofEntityType("planet")
            ))
        ));
        calls.put("describeClientQuotas, refused: one type twice", () ->
            admin.describeClientQuotas(ClientQuotaFilter.contains(List.of(
                ClientQuotaFilterComponent.ofEntity("user", "alice"),
                ClientQuotaFilterComponent.ofEntity("user", "bob")
            ))));
    }

    void cluster() {
        calls.put("describeCluster", () -> admin.describeCluster());
        calls.put("describeCluster with authorised operations", () -> admin.describeCluster(
            new DescribeClusterOptions().includeAuthorizedOperations(true)
        ).authorizedOperations());
        calls.put("describeCluster with fenced brokers", () -> admin.describeCluster(
            new DescribeClusterOptions().includeFencedBrokers(true)
        ).nodes());
        calls.put("describeFeatures", () -> {
            FeatureMetadata features = admin.describeFeatures().featureMetadata().get();
            return List.of(features.finalizedFeatures(), features.supportedFeatures());
        });
        calls.put("electLeaders", () -> List.of(
            admin.electLeaders(ElectionType.PREFERRED, Set.of(FIRST, NOWHERE)),
            admin.electLeaders(ElectionType.UNCLEAN, Set.of(FIRST))
        ));
        calls.put("electLeaders of all", () ->
            admin.electLeaders(ElectionType.PREFERRED, null).all());
        calls.put("listPartitionReassignments", () -> admin.listPartitionReassignments());
        calls.put("listPartitionReassignments of some", () ->
            admin.listPartitionReassignments(Set.of(FIRST, NOWHERE)));
        calls.put("alterPartitionReassignments", () -> admin.alterPartitionReassignments(Map.of(
            FIRST, Optional.of(new NewPartitionReassignment(List.of(BROKER))),
            SECOND, Optional.empty(),
            NOWHERE, Optional.of(new NewPartitionReassignment(List.of(BROKER))),
            new TopicPartition(TOPIC, 2), Optional.of(new NewPartitionReassignment(List.of(9)))
        )).values());
        calls.put("clientInstanceId", () -> {
            admin.clientInstanceId(java.time.Duration.ofSeconds(10));
            return "given";
        });
        calls.put("metrics", () -> admin.metrics().isEmpty() ? "none" : "some");
    }

    void deletions() {
        calls.put("deleteConsumerGroups", () -> admin
            .deleteConsumerGroups(List.of(GROUP, "admin-nobody")).deletedGroups());
        calls.put("listGroups after a deletion", () -> admin.listGroups());
        calls.put("deleteTopics", () ->
            admin.deleteTopics(List.of(TOPIC, MISSING, "admin-assigned")).topicNameValues());
        calls.put("deleteTopics by id", () -> byId(admin.deleteTopics(
            TopicCollection.ofTopicIds(List.of(otherId, NO_ID))
        ).topicIdValues()));
        calls.put("listTopics after deletions", () -> admin.listTopics().names());
    }
}
