{{/* Parts of the NetworkPolicies. */}}

{{- define "tessera.monitoringRule" -}}
{{- with .Values.networkPolicy.monitoringFrom -}}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    - {port: admin, protocol: TCP}
{{- end }}
{{- end -}}

{{- define "tessera.shardPeers" -}}
- podSelector:
    matchLabels:
      {{- include "tessera.selector" (dict "root" $) | nindent 6 }}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: [expert, expert-burst]}
{{- end -}}

{{/* From routers to shards. UCX opens lanes at ports of the kernel's choice beside its listener. */}}
{{- define "tessera.shardTraffic" -}}
{{- if eq .Values.transport.kind "ucx" -}}
- {port: 1024, endPort: 65535, protocol: TCP}
{{- else -}}
- {port: 8020, protocol: TCP}
{{- end -}}
{{- end -}}
