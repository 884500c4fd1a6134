{{/* The configuration as YAML. A listener that a value of `null` has taken away is closed: without its key it would be open. */}}
{{- define "postroad.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $ports := default dict $config.listeners -}}
{{- $listeners := dict -}}
{{- range $name := list "smtp" "submission" "submissions" -}}
{{- $_ := set $listeners $name (get $ports $name | default nil) -}}
{{- end -}}
{{- $_ := set $config "listeners" $listeners -}}
{{ toYaml $config }}
{{- end -}}

{{/* The names of the Secrets that the configuration has files of, one a line: /secrets/NAME/KEY. */}}
{{- define "postroad.secrets" -}}
{{- if kindIs "map" . -}}
{{- range $_, $value := . }}{{ include "postroad.secrets" $value }}{{ end -}}
{{- else if kindIs "slice" . -}}
{{- range $value := . }}{{ include "postroad.secrets" $value }}{{ end -}}
{{- else if and (kindIs "string" .) (hasPrefix "/secrets/" .) -}}
{{- if not (regexMatch "^/secrets/[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9._-]+$" .) -}}
{{- fail (printf "\n\nconfig: %s names no Secret: write /secrets/NAME/KEY, the key KEY of the Secret NAME" .) -}}
{{- end -}}
{{ index (splitList "/" .) 2 }}{{ "\n" }}
{{- end -}}
{{- end -}}

{{/* The port of `http.listen`; empty where it is closed. */}}
{{- define "postroad.http" -}}
{{- $http := default dict .Values.config.http -}}
{{- $events := default dict .Values.config.events -}}
{{- if ne (get $events "enabled" | toString) "false" -}}
{{- if not (hasKey $http "listen") -}}8025
{{- else if $http.listen -}}{{ regexFind "[0-9]+$" $http.listen }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* `peers.port`; empty where nothing is taken from other relays. */}}
{{- define "postroad.peers" -}}
{{- $peers := default dict .Values.config.peers -}}
{{- with $peers.port }}{{ int . }}{{ end -}}
{{- end -}}

{{/* Seconds of a duration such as 1m30s or 90. */}}
{{- define "postroad.seconds" -}}
{{- $text := toString . -}}
{{- if regexMatch "^[0-9]+$" $text -}}
{{ $text }}
{{- else -}}
{{- $seconds := 0 -}}
{{- range $unit, $factor := dict "d" 86400 "h" 3600 "m" 60 "s" 1 -}}
{{- $seconds = add $seconds (mul $factor (regexFind (printf "[0-9]+%s" $unit) $text | trimSuffix $unit | int)) -}}
{{- end -}}
{{ $seconds }}
{{- end -}}
{{- end -}}

{{- define "postroad.grace" -}}
{{- $delivery := default dict .Values.config.delivery -}}
{{- $stop := include "postroad.seconds" (default "8s" $delivery.shutdown_grace) | int -}}
{{ add .Values.drain.acceptSeconds .Values.drain.deliverSeconds .Values.drain.evacuateSeconds $stop 15 }}
{{- end -}}

{{/* The lowest port that the container opens. */}}
{{- define "postroad.lowest" -}}
{{- $lowest := include "postroad.http" . | default "65535" | int -}}
{{- with include "postroad.peers" . }}{{ $lowest = min $lowest (int .) }}{{ end -}}
{{- range $_, $port := (include "postroad.config" . | fromYaml).listeners -}}
{{- if $port }}{{ $lowest = min $lowest (int $port) }}{{ end -}}
{{- end -}}
{{ $lowest }}
{{- end -}}
