from prebook.notification.app import SERVICE
from prebook.runtime.serve import main

main(SERVICE)
