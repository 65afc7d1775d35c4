"""Apache Kafka: one KRaft node, broker and controller in one process, from the project's jars.

Settings differ from the delivered ones only where one node needs it, and where the tests would wait for nothing: short sessions
may be asked for, and a killed broker is let in again without waiting out its old session.
"""

from pathlib import Path

from launcher import install, place
from launcher.recipe import Command, Recipe

# Any 16 bytes in base64; the cluster is ours alone.
CLUSTER = "dGlkZW1hcmstdGVzdHMtMQ"

PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "auto.create.topics.enable": "false",
    # No wait for members that might still come, and sessions as short as a test wants.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
    # After a kill -9 the controller keeps the old session alive for this long before it lets the broker in again.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.segment.bytes": str(64 << 20),
}
# One small node: the serial collector and the first compiler level start fastest and leave the processors to what is tested.
JVM = ["-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


class Server(Recipe):
    name = "kafka"

    def install(self) -> None:
        install.jars(self.name)
        self.python()

    def prepare(self, folder: Path, port: int) -> None:
        own = {
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + 1}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.quorum.voters": f"1@127.0.0.1:{port + 1}",
            "log.dirs": str(folder / "data"),
        }
        lines = [f"{name}={value}\n" for name, value in {**PROPERTIES, **own}.items()]
        (folder / "server.properties").write_text("".join(lines))
        install.run([*self.java(), "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(folder / "server.properties")])

    def command(self, folder: Path, port: int) -> Command:
        return Command([*self.java(), "kafka.Kafka", str(folder / "server.properties")])

    def java(self) -> list[str]:
        log_settings = f"-Dlog4j2.configurationFile={place.SOURCES / self.name / 'log4j2.properties'}"
        return ["java", *JVM, log_settings, "-cp", f"{install.jars(self.name)}/*"]
