{{- define "agent.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "agent.account" -}}
{{- if .Values.serviceAccount.name }}{{ .Values.serviceAccount.name }}{{ else if .Values.serviceAccount.create }}{{ include "agent.name" . }}{{ else }}default{{ end -}}
{{- end -}}

{{- define "agent.selector" -}}
app.kubernetes.io/name: launchcore-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "agent.namespaces" -}}
{{- toJson (.Values.namespaces | default (list .Release.Namespace)) -}}
{{- end -}}

{{- /* The agent's configuration: what the chart says, and over it `config`. */ -}}
{{- define "agent.config" -}}
{{- $kubernetes := dict "in_cluster" true "namespaces" (include "agent.namespaces" . | fromJsonArray) -}}
{{- $said := dict "base_url" .Values.baseUrl "queues" .Values.queues "max_jobs" (int .Values.maxJobs) "state_dir" "/var/lib/launchcore/state" "cache_dir" "/tmp/launchcore" "metrics_address" (printf "0.0.0.0:%d" (int .Values.metrics.port)) "plugins" (dict "kubernetes" $kubernetes) -}}
{{- if .Values.token.secret }}{{ $_ := set $said "token_file" "/var/run/secrets/launchcore/token" }}{{ end -}}
{{- toYaml (mergeOverwrite $said .Values.config) -}}
{{- end -}}
