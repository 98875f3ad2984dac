#!/usr/bin/env bash
# Holds weir's Kafka codec against Kafka's own message classes.
#
#   run.sh              checks: fixtures are what the pinned version gives; bytes that weir wrote
#                       are read and written again by Kafka's classes without a change
#   run.sh generate     writes the fixtures anew
#
# Needs a JDK (17 or later) and Maven.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
target=$repository/target/oracle
pin() { # section, name
    sed -n "/^\[$1\]/,/^\[/s/^$2 *= *\"\(.*\)\"/\1/p" "$here/../versions.toml"
}
version=$(pin kafka version)

mkdir -p "$target"
mvn -q -B -f "$here/pom.xml" \
    -Dkafka.version="$version" -Dslf4j.version="$(pin java slf4j)" \
    -Doracle.target="$target/build" -Dmdep.outputFile="$target/classpath" \
    compile dependency:build-classpath
oracle() {
    java -cp "$target/build/classes:$(cat "$target/classpath")" weir.oracle.Oracle "$@"
}

if [ "${1:-}" = generate ]; then
    oracle generate "$repository"
    exit
fi

oracle generate "$target/fixtures"
for fixture in proto/kafka/testdata/{messages.bin,headers.bin,errors.tsv} \
    proto/records/testdata/records.bin; do
    if ! cmp "$repository/$fixture" "$target/fixtures/$fixture"; then
        echo "$fixture is not what Kafka $version gives: tests/oracle/run.sh generate" >&2
        exit 1
    fi
done

# The tests write what weir encoded, values of its own making among it, for Kafka's classes to
# judge.
written=$target/written
rm -rf "$written" && mkdir -p "$written"
(cd "$repository" &&
    WEIR_ORACLE_OUT=$written \
        cargo test -q -p weir-kafka-protocol -p weir-kafka-records --test oracle)
oracle verify "$written/messages.bin" "$written/records.bin"
