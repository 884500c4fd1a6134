"""Routes with limits: releases their mail as the limits allow."""
