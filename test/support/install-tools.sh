#!/bin/sh
# The tests use real brokers and clients, and promtool of Prometheus. What is missing is installed where that is possible without asking
# (Debian or Ubuntu, as root); elsewhere this says what to run.
set -eu

missing=''
command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || missing="$missing mosquitto"
command -v mosquitto_sub >/dev/null 2>&1 || missing="$missing mosquitto-clients"
/usr/bin/python3 -c 'import paho.mqtt.client' >/dev/null 2>&1 || missing="$missing python3-paho-mqtt"
command -v paho_c_sub >/dev/null 2>&1 || missing="$missing paho.mqtt.c-examples"
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
command -v openssl >/dev/null 2>&1 || missing="$missing openssl"
[ -z "$missing" ] && exit 0

install="apt-get install --yes --no-install-recommends$missing"
if ! command -v apt-get >/dev/null 2>&1; then
  echo "The tests need:$missing. Install them with this system's package manager (on Debian or Ubuntu: sudo $install), and run the tests again." >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "The tests need:$missing. Run: sudo $install" >&2
  exit 1
fi
echo "installing what the tests need:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# A service that starts by itself would take the port that people try things on.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d.willow
if [ ! -e /usr/sbin/policy-rc.d ]; then
  mv /usr/sbin/policy-rc.d.willow /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
else
  rm -f /usr/sbin/policy-rc.d.willow
fi
# shellcheck disable=SC2086 # one word for each package
$install
