#!/usr/bin/env bash
# Fetches Kafka's jars of the version that tests/versions.toml pins into the local Maven
# repository, unless they are there, and prints their paths, one a line.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n '/^\[kafka\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' versions.toml)
for artifact in kafka-clients kafka-group-coordinator kafka-transaction-coordinator; do
    jar="$HOME/.m2/repository/org/apache/kafka/$artifact/$version/$artifact-$version.jar"
    if [ ! -f "$jar" ]; then
        coordinates=org.apache.kafka:$artifact:$version
        # Maven goes by the account's home, whatever HOME says.
        mvn -q -B -Dmaven.repo.local="$HOME/.m2/repository" dependency:get -Dtransitive=false -Dartifact="$coordinates" >&2
    fi
    echo "$jar"
done
