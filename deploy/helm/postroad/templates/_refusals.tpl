{{/* Refuses values that no mail could be sent with, and those that would let in anybody. */}}
{{- define "postroad.refusals" -}}
{{- $config := include "postroad.config" . | fromYaml -}}
{{- $clients := default dict $config.clients -}}
{{- $users := default list $clients.users -}}
{{- $open := list -}}
{{- range $name, $port := $config.listeners -}}
{{- if $port }}{{ $open = append $open $name }}{{ end -}}
{{- end -}}

{{- if not $open -}}
{{- fail "\n\nconfig.listeners: all are closed, so nobody could send; leave one open" -}}
{{- end -}}

{{- $networks := default list $clients.networks -}}
{{- $named := without $networks "auto" -}}
{{- $asked := "name the range of your cluster's pods, such as --set config.clients.networks={10.244.0.0/16}\n  kubectl get pods --all-namespaces -o custom-columns=IP:.status.podIP   shows addresses in it\n  kubectl cluster-info dump | grep -m 1 -- --cluster-cidr   shows it on many clusters; a cloud's console has it, too" -}}
{{- if not (hasKey $clients "networks") -}}
{{- fail (printf "\n\nconfig.clients.networks is not set, so no app could send: %s\n  [] where every client has a password (config.clients.users)" $asked) -}}
{{- else if and $networks (not $named) -}}
{{- fail (printf "\n\nconfig.clients.networks: in Kubernetes auto stands for the pods of one node, or for none: %s" $asked) -}}
{{- else if and (not $named) (not $users) -}}
{{- fail (printf "\n\nconfig.clients.networks is empty and config.clients.users, too, so nobody could send: %s" $asked) -}}
{{- else if and $users (not $named) (not $config.listeners.submission) (not $config.listeners.submissions) -}}
{{- fail "\n\nconfig.listeners: submission and submissions are closed, and config.clients.users need one of them" -}}
{{- else if and $named (not $users) (not $config.listeners.smtp) -}}
{{- fail "\n\nconfig.listeners.smtp is closed, and config.clients.networks send through it: leave it open, or set config.clients.users" -}}
{{- end -}}
{{- $fitting := list -}}
{{- range $network := $named -}}
{{- if and (regexMatch "/0$" $network) (not $clients.i_know_this_is_an_open_relay) -}}
{{- fail (printf "\n\nconfig.clients.networks: %s is everybody, which makes an open relay: %s" $network $asked) -}}
{{- end -}}
{{- if not (regexMatch "^(127\\.|::1(/|$)|169\\.254\\.|fe80:)" (lower $network)) }}{{ $fitting = append $fitting $network }}{{ end -}}
{{- end -}}
{{- if and $named (not $fitting) -}}
{{- fail (printf "\n\nconfig.clients.networks: no pod of an app has an address in %s: %s" (join ", " $named) $asked) -}}
{{- end -}}

{{- $dkim := default dict $config.dkim -}}
{{- if and (gt (int .Values.replicas) 1) (ne (get $dkim "enabled" | toString) "false") -}}
{{- if has "ed25519" (default list $dkim.algorithms) -}}
{{- fail "\n\nreplicas: each relay would make Ed25519 keys of its own, and one record can hold one: leave ed25519 out of config.dkim.algorithms" -}}
{{- end -}}
{{- range $domain := $config.domains -}}
{{- $key := "" -}}
{{- if kindIs "map" $domain }}{{ $key = get (default dict $domain.dkim) "key_file" }}{{ end -}}
{{- if not $key -}}
{{- $name := $domain }}{{ if kindIs "map" $domain }}{{ $name = $domain.name }}{{ end -}}
{{- fail (printf "\n\nreplicas: each relay would make a DKIM key of its own for %s, and one record can hold one: give them a key from a Secret\n  domains: [{name: %s, dkim: {key_file: /secrets/postroad-dkim/%s.pem}}]   docs/kubernetes.md says how to make it" $name $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and .Values.external.enabled (not $users) -}}
{{- fail "\n\nexternal.enabled: clients outside of the cluster have to authenticate, and config.clients.users names nobody" -}}
{{- end -}}
{{- if and .Values.external.enabled (not $config.listeners.submission) (not $config.listeners.submissions) -}}
{{- fail "\n\nexternal.enabled: config.listeners.submission and submissions are closed; leave one open" -}}
{{- end -}}
{{- if and .Values.drain.evacuateSeconds (or (not (include "postroad.peers" .)) (lt (int .Values.replicas) 2)) -}}
{{- fail "\n\ndrain.evacuateSeconds: there is no relay to hand over to: set replicas to 2 or more, and config.peers\n  peers: {port: 2526, secret_file: /secrets/postroad-peers/secret}   docs/scale.md says how to make the secret" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not (include "postroad.http" .)) -}}
{{- fail "\n\nserviceMonitor.enabled: the metrics need config.events.enabled and config.http.listen" -}}
{{- end -}}
{{- end -}}
