"""How to ask cloud providers for a reverse name: they own the PTR record."""

from postroad.dns.instance import Instance

AWS_FORM = "https://console.aws.amazon.com/support/contacts?#/rdns-limits"


def reverse_name_steps(address: str, hostname: str, instance: Instance | None = None) -> list[tuple[str, str]]:
    """(provider, what to do) for one address; a command where the provider has one."""
    region = f"--region {instance.region} " if instance and instance.region else ""
    allocation = (
        f"$(aws ec2 describe-addresses {region}--public-ips {address}"
        " --query 'Addresses[0].AllocationId' --output text)"
    )
    aws = f"aws ec2 modify-address-attribute {region}--domain-name {hostname} --allocation-id {allocation}"
    gcp = f"gcloud compute instances update-access-config INSTANCE --public-ptr --public-ptr-domain={hostname}."
    return [
        ("AWS", f"{aws}  # once the A record is there; or `postroad aws-request`"),
        ("GCP", f"{gcp}  # not for Cloud NAT: give the instance an address of its own"),
        ("Azure", f"az network public-ip update --resource-group GROUP --name ADDRESS --reverse-fqdn {hostname}."),
        ("Hetzner", f"hcloud server set-rdns SERVER --ip {address} --hostname {hostname}"),
    ]
