{{/* Config files: what the chart decides, laid over values.<service>.config, which are fields of
protos/tessera/config/v1 verbatim. Each gives JSON. */}}

{{- define "tessera.tlsConfig" -}}
{{- if .Values.tls.existingSecret -}}
{{- dict "certificate_file" "/etc/tessera/tls/tls.crt" "key_file" "/etc/tessera/tls/tls.key" "ca_file" "/etc/tessera/tls/ca.crt" | toJson -}}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{- define "tessera.commonConfig" -}}
{{- $config := dict "model" (include "tessera.modelFolder" .root) "drain_seconds" .root.Values.drainSeconds "log" (dict "json" true) "otlp_endpoint" .root.Values.tracing.endpoint -}}
{{- with include "tessera.tlsConfig" .root | fromJson -}}{{- $_ := set $config "tls" . -}}{{- end -}}
{{- $config | toJson -}}
{{- end -}}

{{- define "tessera.hasClusterSecret" -}}
{{- if or .Values.clusterSecret.value .Values.clusterSecret.existingSecret -}}true{{- end -}}
{{- end -}}
{{- define "tessera.clusterConfig" -}}
{{- $config := include "tessera.commonConfig" . | fromJson -}}
{{- if include "tessera.hasClusterSecret" .root -}}
{{- $_ := set $config "cluster_secret_file" "/etc/tessera/cluster/cluster-secret" -}}
{{- end -}}
{{- if eq .root.Values.transport.kind "ucx" -}}
{{- $_ := set $config "ucx" (dict "transports" (include "tessera.ucxTransports" .root) "net_devices" .root.Values.transport.netDevices "ipv6" (eq .root.Values.ipFamily "IPv6")) -}}
{{- end -}}
{{- $config | toJson -}}
{{- end -}}

{{- define "tessera.gatewayConfig" -}}
{{- $config := include "tessera.commonConfig" (dict "root" .) | fromJson -}}
{{- $_ := set $config "served_model_name" (list .Values.model.name) -}}
{{- $_ := set $config "otlp_sample_ratio" .Values.tracing.sampleRatio -}}
{{- $_ := set $config "router_addresses" (include "tessera.routerAddresses" . | fromJsonArray) -}}
{{- $_ := set $config "http_listen" (include "tessera.listen" (dict "root" . "port" 8000)) -}}
{{- $_ := set $config "grpc_listen" (include "tessera.listen" (dict "root" . "port" 8001)) -}}
{{- $_ := set $config "admin_listen" (include "tessera.listen" (dict "root" . "port" 8002)) -}}
{{- if or .Values.gateway.apiKeys.value .Values.gateway.apiKeys.existingSecret -}}
{{- $_ := set $config "keys_file" "/etc/tessera/keys/keys.json" -}}
{{- end -}}
{{- if .Values.gateway.tlsSecret -}}
{{- $_ := set $config "http" (dict "certificate_file" "/etc/tessera/http-tls/tls.crt" "key_file" "/etc/tessera/http-tls/tls.key") -}}
{{- end -}}
{{- mergeOverwrite (deepCopy .Values.gateway.config) $config | toPrettyJson -}}
{{- end -}}

{{- define "tessera.routerConfig" -}}
{{- $config := include "tessera.clusterConfig" (dict "root" .) | fromJson -}}
{{- $_ := set $config "grpc_listen" (include "tessera.listen" (dict "root" . "port" 8010)) -}}
{{- $_ := set $config "admin_listen" (include "tessera.listen" (dict "root" . "port" 8012)) -}}
{{- $_ := set $config "expert_metrics" .Values.monitoring.expertMetrics.enabled -}}
{{- $_ := set $config "leader" (include "tessera.routerAddresses" . | fromJsonArray | first) -}}
{{- $_ := set $config "membership" (dict "transport" .Values.transport.kind "copies_wanted" (int .Values.expertShard.copies)) -}}
{{- mergeOverwrite (deepCopy .Values.router.config) $config | toPrettyJson -}}
{{- end -}}

{{/* Of base and burst shards: (dict "root" $ "config" {...}). */}}
{{- define "tessera.shardConfig" -}}
{{- $config := include "tessera.clusterConfig" . | fromJson -}}
{{- $_ := set $config "shard_count" (int .root.Values.expertShard.count) -}}
{{- $_ := set $config "replicas" (int .root.Values.expertShard.copies) -}}
{{- $_ := set $config "router_addresses" (include "tessera.routerAddresses" .root | fromJsonArray) -}}
{{- $_ := set $config "grpc_listen" (include "tessera.listen" (dict "root" .root "port" 8020)) -}}
{{- $_ := set $config "admin_listen" (include "tessera.listen" (dict "root" .root "port" 8022)) -}}
{{- if eq .root.Values.transport.kind "ucx" -}}
{{- $_ := set $config "data_listen" (printf "ucx:%s" (include "tessera.listen" (dict "root" .root "port" 8021))) -}}
{{- else -}}
{{- $_ := set $config "data_listen" "grpc:" -}}
{{- end -}}
{{- mergeOverwrite (deepCopy .config) $config | toJson -}}
{{- end -}}

{{- define "tessera.expertConfig" -}}
{{- include "tessera.shardConfig" (dict "root" . "config" .Values.expertShard.config) | fromJson | toPrettyJson -}}
{{- end -}}

{{- define "tessera.burstConfig" -}}
{{- $base := mergeOverwrite (deepCopy .Values.expertShard.config) (deepCopy .Values.burstShard.config) -}}
{{- $config := include "tessera.shardConfig" (dict "root" . "config" $base) | fromJson -}}
{{- $_ := set $config "draw_shard_id" true -}}
{{- $_ := set $config "slots_spare" (int .Values.burstShard.slotsSpare) -}}
{{- $config | toPrettyJson -}}
{{- end -}}

{{/* Files from Secrets that a service reads. */}}
{{- define "tessera.commonSecrets" -}}
{{- $secrets := list -}}
{{- if .Values.tls.existingSecret -}}
{{- $secrets = append $secrets (dict "name" "tls" "secret" .Values.tls.existingSecret "folder" "/etc/tessera/tls") -}}
{{- end -}}
{{- $secrets | toJson -}}
{{- end -}}

{{- define "tessera.clusterSecrets" -}}
{{- $secrets := include "tessera.commonSecrets" . | fromJsonArray -}}
{{- if include "tessera.hasClusterSecret" . -}}
{{- $name := default (printf "%s-cluster" (include "tessera.fullname" .)) .Values.clusterSecret.existingSecret -}}
{{- $secrets = append $secrets (dict "name" "cluster" "secret" $name "folder" "/etc/tessera/cluster") -}}
{{- end -}}
{{- $secrets | toJson -}}
{{- end -}}

{{- define "tessera.gatewaySecrets" -}}
{{- $secrets := include "tessera.commonSecrets" . | fromJsonArray -}}
{{- if or .Values.gateway.apiKeys.value .Values.gateway.apiKeys.existingSecret -}}
{{- $name := default (printf "%s-keys" (include "tessera.gatewayName" .)) .Values.gateway.apiKeys.existingSecret -}}
{{- $secrets = append $secrets (dict "name" "keys" "secret" $name "folder" "/etc/tessera/keys") -}}
{{- end -}}
{{- if .Values.gateway.tlsSecret -}}
{{- $secrets = append $secrets (dict "name" "http-tls" "secret" .Values.gateway.tlsSecret "folder" "/etc/tessera/http-tls") -}}
{{- end -}}
{{- $secrets | toJson -}}
{{- end -}}
