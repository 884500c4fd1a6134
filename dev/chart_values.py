"""The values of the Helm chart: each with its type, default and meaning.

``dev.chart`` makes ``values.yaml``, ``values.schema.json`` and the table in the chart's README from these. The schema
of ``config`` is that of ``postroad.config.model``.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Names = dict[str, str]
Objects = list[dict[str, Any]]


class Values(BaseModel):
    """A mapping, closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class Image(Values):
    """The image that runs."""

    repository: str = Field(description="Its name, with the registry.")
    tag: str = Field("", description="Its tag. Empty: the chart's `appVersion`.")
    digest: str = Field("", description="Its digest, such as `sha256:…`, which comes over the tag.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When the node pulls it."
    )


class Listeners(Values):
    """Ports of the container; `null` closes one. The Services have 25, 587 and 465.

    Ports from 1024 on can be opened without privileges on every runtime. For a lower one the pod sets the safe sysctl
    `net.ipv4.ip_unprivileged_port_start`.
    """

    smtp: int | None = Field(2525, description="Behind port 25.")
    submission: int | None = Field(2587, description="Behind port 587.")
    submissions: int | None = Field(2465, description="Behind port 465.")


class Config(Values):
    """Postroad's whole configuration, as in `config.yaml`: `docs/configuration.md`.

    Three keys have to be set: `hostname`, `domains` and `clients.networks`. A file `/secrets/NAME/KEY` in it is the key
    KEY of the Secret NAME, which the pod then mounts.
    """

    listeners: Listeners = Listeners.model_construct()


class Service(Values):
    """The Service for apps in the cluster. It is a ClusterIP: others show strangers under the nodes' addresses."""

    annotations: Names = Field({}, description="Its annotations.")
    session_affinity: Literal["None", "ClientIP"] = Field("None", description="Whether a client stays with one relay.")


class External(Values):
    """A second Service for clients outside of the cluster, who authenticate. It has 587 and 465, and never 25."""

    enabled: bool = Field(False, description="Whether there is one. It needs `config.clients.users`.")
    type: Literal["LoadBalancer", "NodePort"] = Field("LoadBalancer", description="Its type.")
    annotations: Names = Field({}, description="Its annotations, for the cloud's load balancer.")
    load_balancer_class: str = Field("", description="The class of the load balancer.")
    load_balancer_source_ranges: list[str] = Field([], description="The networks that may connect. Empty: all.")
    external_traffic_policy: Literal["Local", "Cluster"] = Field(
        "Local",
        description="`Local` keeps the client's address, by which guesses of passwords are counted.",
    )


class Volume(Values):
    """A volume of each relay."""

    size: str = Field("5Gi", description="Its size.")
    storage_class: str = Field("", description="Its StorageClass. Empty: the cluster's default.")
    access_modes: list[str] = Field(["ReadWriteOnce"], description="Its access modes.")
    annotations: Names = Field({}, description="Annotations of its claim.")


class Queue(Volume):
    """Mail that waits. `fsync` has to be honest here: no NFS."""


class State(Volume):
    """DKIM keys that Postroad makes, and the events."""


class Persistence(Values):
    """Each relay's volumes. They stay when a relay is scaled away or the chart is uninstalled."""

    queue: Queue = Queue.model_construct()
    state: State = State.model_construct()


class Drain(Values):
    """What a pod does before it ends: it takes mail, then takes none and delivers what waits, then stops.

    `terminationGracePeriodSeconds` is the sum of these and `config.delivery.shutdown_grace`, and 15 s more.
    """

    accept_seconds: int = Field(
        10,
        ge=0,
        le=300,
        description="How long it takes mail on, while the cluster learns that it ends. If short, apps are refused.",
    )
    deliver_seconds: int = Field(
        60,
        ge=0,
        le=86400,
        description="How long what waits may take. What is left stays on the volume, for the next pod.",
    )
    evacuate_seconds: int = Field(
        0,
        ge=0,
        le=86400,
        description="How long handing over what is left to relay 0 may take. 0: it stays. Needs `config.peers` and two"
        " relays or more.",
    )


class NetworkPolicy(Values):
    """Who may connect to the relays, by the cluster's network plugin."""

    enabled: bool = Field(False, description="Whether there is one.")
    clients: Objects = Field(
        [],
        description=(
            "Who may connect to the listeners, as in `ingress.from`. Empty: the pods of the namespace."
            " With `external`, everybody may connect to 587 and 465."
        ),
    )
    monitoring: Objects = Field(
        [], description="Who may connect to the HTTP port, likewise. Empty: everybody in the cluster."
    )
    egress: Objects = Field(
        [], description="Where the relays may connect to, as in `egress`. Empty: anywhere, as mail needs."
    )


class Budget(Values):
    """PodDisruptionBudget: how many relays the drain of a node may take away at once."""

    enabled: bool = Field(True, description="Whether there is one.")
    max_unavailable: int = Field(1, ge=1, description="How many.")


class ServiceMonitor(Values):
    """For the Prometheus operator: scrape each relay."""

    enabled: bool = Field(False, description="Whether there is one.")
    interval: str = Field("30s", description="How often.")
    labels: Names = Field({}, description="Labels that the operator looks for.")


class PrometheusRule(Values):
    """For the Prometheus operator: the alerts of `deploy/prometheus/rules.yml`."""

    enabled: bool = Field(False, description="Whether there are any.")
    labels: Names = Field({}, description="Labels that the operator looks for.")


class Dashboard(Values):
    """A ConfigMap with the dashboard of `deploy/grafana/postroad.json`, for Grafana's sidecar."""

    enabled: bool = Field(False, description="Whether there is one.")
    labels: Names = Field({"grafana_dashboard": "1"}, description="Labels that the sidecar looks for.")
    annotations: Names = Field({}, description="Its annotations, such as the sidecar's folder.")


class ChartValues(Values):
    """All values of the chart."""

    image: Image
    image_pull_secrets: Objects = Field([], description="Secrets for the registry, such as `{name: registry}`.")
    name_override: str = Field("", description="The chart's name within the names of objects.")
    fullname_override: str = Field("", description="The whole name of objects.")
    replicas: int = Field(
        1,
        ge=1,
        description="How many relays. Two or more need DKIM keys from Secrets, since each would make keys of its own.",
    )
    config: Config = Config.model_construct()
    env: Objects = Field(
        [], description="More environment variables: `POSTROAD_…` with a `value` or a `valueFrom` comes over `config`."
    )
    service: Service = Service.model_construct()
    external: External = External.model_construct()
    persistence: Persistence = Persistence.model_construct()
    drain: Drain = Drain.model_construct()
    resources: dict[str, Any] = Field(
        {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        description="A relay's resources. At rest it takes 30 MiB, and about 3 more for each session.",
    )
    security_context: dict[str, Any] = Field(
        {"runAsUser": 2525, "runAsGroup": 2525, "fsGroup": 2525},
        description=(
            "Ids that the pod runs with; any will do. OpenShift chooses its own, so none is set there."
            " `null` leaves one to the cluster. All else of the restricted standard is set whatever stands here."
        ),
    )
    service_account_name: str = Field("", description="Its ServiceAccount. No token is mounted: it asks no API.")
    dns_config: dict[str, Any] = Field(
        {"options": [{"name": "ndots", "value": "1"}]},
        description="How it looks names up. With `ndots: 1`, `gmail.com` is not first looked up within the cluster.",
    )
    pod_annotations: Names = Field({}, description="Annotations of the pods.")
    pod_labels: Names = Field({}, description="More labels of the pods.")
    node_selector: Names = Field(
        {}, description="Nodes that the pods may run on, such as those whose addresses are in SPF."
    )
    tolerations: Objects = Field([], description="Taints that the pods tolerate.")
    affinity: dict[str, Any] = Field({}, description="Affinity of the pods.")
    topology_spread_constraints: Objects = Field(
        [],
        description="How the pods are spread. Empty: over the nodes, as far as possible.",
    )
    priority_class_name: str = Field("", description="Their PriorityClass.")
    extra_volumes: Objects = Field([], description="More volumes of the pod.")
    extra_volume_mounts: Objects = Field([], description="Where they are mounted.")
    network_policy: NetworkPolicy = NetworkPolicy.model_construct()
    pod_disruption_budget: Budget = Budget.model_construct()
    service_monitor: ServiceMonitor = ServiceMonitor.model_construct()
    prometheus_rule: PrometheusRule = PrometheusRule.model_construct()
    dashboard: Dashboard = Dashboard.model_construct()
