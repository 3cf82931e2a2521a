{{/* Where others find a shard: (dict "root" $ "host" "..."); JSON. */}}
{{- define "tessera.shardArgs" -}}
{{- $args := list (printf "--set=grpc_advertise=%s:8020" .host) -}}
{{- if eq .root.Values.transport.kind "ucx" -}}
{{- $args = append $args (printf "--set=data_advertise=ucx:%s:8021" .host) -}}
{{- end -}}
{{- $args | toJson -}}
{{- end -}}

{{- define "tessera.shardPorts" -}}
{{- $ports := dict "grpc" 8020 "admin" 8022 -}}
{{- if eq .Values.transport.kind "ucx" -}}{{- $_ := set $ports "data" 8021 -}}{{- end -}}
{{- $ports | toJson -}}
{{- end -}}
