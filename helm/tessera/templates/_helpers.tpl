{{/* Names, labels and addresses. */}}

{{- define "tessera.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a component: (dict "root" $ "component" "router"). */}}
{{- define "tessera.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "tessera.labels" -}}
{{ include "tessera.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An object's metadata: (dict "root" $ "component" "router" "name" "..."). */}}
{{- define "tessera.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "tessera.labels" . | nindent 2 }}
{{- end -}}

{{- define "tessera.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* host:port that takes all addresses of the pod: (dict "root" $ "port" 8010). */}}
{{- define "tessera.listen" -}}
{{ ternary "[::]" "0.0.0.0" (eq .root.Values.ipFamily "IPv6") }}:{{ .port }}
{{- end -}}

{{/* The pod's own address as the kubelet fills it in. */}}
{{- define "tessera.podIp" -}}
{{ ternary "[$(POD_IP)]" "$(POD_IP)" (eq .Values.ipFamily "IPv6") }}
{{- end -}}

{{/* DNS name of a pod: (dict "root" $ "pod" "x-router-0" "service" "x-router"). */}}
{{- define "tessera.podName" -}}
{{ .pod }}.{{ .service }}.{{ .root.Release.Namespace }}.svc.{{ .root.Values.clusterDomain }}
{{- end -}}

{{- define "tessera.routerName" -}}{{ include "tessera.fullname" . }}-router{{- end -}}
{{- define "tessera.gatewayName" -}}{{ include "tessera.fullname" . }}-gateway{{- end -}}
{{- define "tessera.expertName" -}}{{ include "tessera.fullname" . }}-expert{{- end -}}
{{- define "tessera.burstName" -}}{{ include "tessera.fullname" . }}-expert-burst{{- end -}}

{{/* gRPC of router number n: (dict "root" $ "pod" "x-router-0"). */}}
{{- define "tessera.routerAddress" -}}
{{ include "tessera.podName" (dict "root" .root "pod" .pod "service" (include "tessera.routerName" .root)) }}:8010
{{- end -}}

{{- define "tessera.routerAddresses" -}}
{{- $addresses := list -}}
{{- range $i := until (int .Values.router.replicas) -}}
{{- $pod := printf "%s-%d" (include "tessera.routerName" $) $i -}}
{{- $addresses = append $addresses (include "tessera.routerAddress" (dict "root" $ "pod" $pod)) -}}
{{- end -}}
{{- toJson $addresses -}}
{{- end -}}

{{/* Seconds of the drain: Services and Ingresses forget a gateway during preStop; the rest is for what a stop needs beside
the work that may finish. */}}
{{- define "tessera.preStopSeconds" -}}{{ max 1 (ceil (divf .Values.drainSeconds 6)) | int }}{{- end -}}
{{- define "tessera.graceSeconds" -}}{{ add (ceil .Values.drainSeconds | int) 15 }}{{- end -}}
{{- define "tessera.gatewayGraceSeconds" -}}
{{ add (include "tessera.graceSeconds" . | int) (include "tessera.preStopSeconds" . | int) }}
{{- end -}}

{{- define "tessera.ucxTransports" -}}
{{ ternary .Values.rdma.transports .Values.transport.transports .Values.rdma.enabled }}
{{- end -}}

{{/* auto, true or false: (dict "root" $ "enabled" ... "api" "group/version/Kind"); gives "true" or nothing. */}}
{{- define "tessera.isWanted" -}}
{{- if eq (toString .enabled) "auto" -}}
{{- if .root.Capabilities.APIVersions.Has .api -}}true{{- end -}}
{{- else if eq (toString .enabled) "true" -}}true
{{- end -}}
{{- end -}}

{{/* What cannot work, said before anything is installed. */}}
{{- define "tessera.check" -}}
{{- if gt (int .Values.expertShard.copies) (int .Values.expertShard.count) -}}
{{- fail (printf "expertShard.copies is %v; %v shards cannot hold more than %v copies" .Values.expertShard.copies .Values.expertShard.count .Values.expertShard.count) -}}
{{- end -}}
{{- if and .Values.tls.existingSecret .Values.burstShard.enabled -}}
{{- fail "tls.existingSecret is set: burst shards have no name for a certificate; set burstShard.enabled=false" -}}
{{- end -}}
{{- if and .Values.burstShard.enabled (gt (int .Values.burstShard.autoscaling.minReplicas) (int .Values.burstShard.autoscaling.maxReplicas)) -}}
{{- fail "burstShard.autoscaling.minReplicas is above maxReplicas" -}}
{{- end -}}
{{- if and (eq .Values.burstShard.autoscaling.type "hpa") (lt (int .Values.burstShard.autoscaling.minReplicas) 1) -}}
{{- fail "burstShard.autoscaling.minReplicas is 0, which takes autoscaling.type=keda" -}}
{{- end -}}
{{- if and .Values.gateway.autoscaling.enabled (gt (int .Values.gateway.autoscaling.minReplicas) (int .Values.gateway.autoscaling.maxReplicas)) -}}
{{- fail "gateway.autoscaling.minReplicas is above maxReplicas" -}}
{{- end -}}
{{- if and (include "tessera.serviceMonitors" .) (include "tessera.podMonitors" .) -}}
{{- fail "monitoring.serviceMonitor and monitoring.podMonitor are both enabled; every pod would be scraped twice" -}}
{{- end -}}
{{- if and .Values.rdma.enabled (ne .Values.transport.kind "ucx") -}}
{{- fail "rdma.enabled takes transport.kind=ucx" -}}
{{- end -}}
{{- end -}}

{{- define "tessera.serviceMonitors" -}}
{{- include "tessera.isWanted" (dict "root" . "enabled" .Values.monitoring.serviceMonitor.enabled "api" "monitoring.coreos.com/v1/ServiceMonitor") -}}
{{- end -}}
{{- define "tessera.podMonitors" -}}
{{- include "tessera.isWanted" (dict "root" . "enabled" .Values.monitoring.podMonitor.enabled "api" "monitoring.coreos.com/v1/PodMonitor") -}}
{{- end -}}
